// The page: its head, the view that is open, and what comes over it.

import { LitElement, html, nothing } from '../vendor/lit.js';
import * as api from './api.js';
import { queryOf } from './address.js';
import './box.js';
import './compare.js';
import './detail.js';
import { hitOf } from './folding.js';
import { ITEM } from './grid.js';
import './head.js';
import { icon } from './icons.js';
import { Jobs } from './jobs.js';
import { doing, keyTable, keysOn, turnKeys } from './keys.js';
import { saidText } from './results.js';
import './selection.js';
import { sourceOf } from './sources.js';
import { nameOf } from './telling.js';
import { spoken, t } from './texts.js';

const WIDE = matchMedia('(min-width: 60rem)');
const VIEWS = {
  browse: () => import('./browse.js'),
  duplicates: () => import('./duplicates.js'),
  map: () => import('./map.js'),
  activity: () => import('./activity.js'),
  settings: () => import('./settings.js'),
};

export class App extends LitElement {
  static properties = {
    session: { attribute: false },
    dropping: { state: true },
    helping: { state: true },
    itemFacts: { state: true }, // of the picture that is searched with
    revision: { state: true },
  };

  constructor() {
    super();
    this.revision = 0;
    this.loaded = new Set(['search']); // views whose modules are there
    this.depth = 0; // of drag events: of the page and of what is in it
  }

  createRenderRoot() {
    return this;
  }

  connectedCallback() {
    super.connectedCallback();
    this.jobs = new Jobs(this.session);
    this.jobs.addEventListener('change', () => (this.revision += 1));
    this.jobs.addEventListener('added', () => this.session.refresh());
    this.jobs.addEventListener('back', () => this.session.returned());
    this.session.addEventListener('change', () => this.#changed());
    this.session.addEventListener('place', ({ detail }) => this.#scroll(detail));
    addEventListener('keydown', (event) => this.#key(event));
    addEventListener('paste', (event) => this.#paste(event));
    for (const name of ['dragenter', 'dragover', 'dragleave', 'drop']) addEventListener(name, (event) => this[`_${name}`](event));
    WIDE.addEventListener('change', () => this.requestUpdate());
  }

  #changed() {
    this.revision += 1;
    const { item, view } = this.session.state;
    if (item !== null && this.itemFacts?.id !== item) this.#loadItem(item);
    if (!this.loaded.has(view)) this.#loadView(view);
  }

  async #loadView(view) {
    await VIEWS[view]();
    this.loaded.add(view);
    this.requestUpdate();
  }

  async #loadItem(id) {
    this.itemFacts = { id, path: '', ...hitOf(this.session.results, id) };
    const facts = await api.item(id).catch(() => null);
    if (facts && this.session.state.item === id) this.itemFacts = facts;
  }

  updated() {
    const help = this.querySelector('dialog.help');
    if (help && !help.open) help.showModal();
  }

  async #scroll(top) {
    await this.updateComplete;
    await this.querySelector('hg-results')?.updateComplete;
    await this.querySelector('hg-grid')?.updateComplete;
    scrollTo({ top, behavior: 'instant' });
  }

  render() {
    const { session, jobs, revision } = this;
    const { state } = session;
    return html`
      <a class="skip" href=${sourceOf(state) ? '#results' : '#main'}>${t('skip')}</a>
      <hg-head .session=${session} .running=${jobs.running} .revision=${revision} .language=${spoken()}
        @help=${() => (this.helping = true)} @redraw=${() => (this.revision += 1)}></hg-head>
      ${this.#view()}
      <p class="unseen" role="status" aria-live="polite">${saidText(session)}</p>
      <hg-selection .session=${session} .revision=${revision} .language=${spoken()}></hg-selection>
      ${state.open === null ? nothing : this.#detail()}
      ${this.dropping ? html`<div class="dropping" aria-hidden="true"><p>${icon('drop')}${t('drop.here')}</p></div>` : nothing}
      ${this.helping ? this.#help() : nothing}`;
  }

  #view() {
    const { session, jobs, revision } = this;
    const language = spoken();
    if (!this.loaded.has(session.state.view)) return html`<main id="main" tabindex="-1" class="leafing" aria-busy="true"><p class="hint">${t('loading')}</p></main>`;
    switch (session.state.view) {
      case 'browse':
        return html`<hg-browse .session=${session} .revision=${revision} .language=${language}></hg-browse>`;
      case 'duplicates':
        return html`<hg-duplicates .session=${session} .revision=${revision} .language=${language}></hg-duplicates>`;
      case 'map':
        return html`<hg-map .session=${session} .revision=${revision} .language=${language}></hg-map>`;
      case 'activity':
        return html`<hg-activity .session=${session} .jobs=${jobs} .revision=${revision} .language=${language}></hg-activity>`;
      case 'settings':
        return html`<hg-settings .session=${session} .revision=${revision} .language=${language} @redraw=${() => (this.revision += 1)}></hg-settings>`;
      default:
        return this.#search();
    }
  }

  #search() {
    const { session, revision } = this;
    const asking = Boolean(session.asking || session.uploading);
    return html`<main id="main" tabindex="-1" class=${asking ? 'asking' : 'leafing'}>
      ${asking ? nothing : this.#welcome()}
      <section class="side" aria-label=${t('side.label')}>
        <hg-panel .wide=${WIDE.matches} .session=${session} .asked=${this.#asked()} .shown=${session.shown.count} .least=${session.least ?? session.state.score}
          .revision=${revision} .language=${spoken()}></hg-panel>
      </section>
      <hg-results .session=${session} .level=${asking ? 1 : 2} .heading=${t(asking ? 'results.title' : 'library.title')}
        .choosing=${session.library.writable} .revision=${revision} .language=${spoken()}></hg-results>
    </main>`;
  }

  #welcome() {
    const { library } = this.session;
    return html`<section class="welcome" aria-labelledby="welcome-title">
      <h1 id="welcome-title">${t('welcome.title')}</h1>
      <p>${t(library.text ? 'welcome.text' : 'welcome.pictures')}</p></section>`;
  }

  /** The picture that is searched with, or null. */
  #asked() {
    const { state, uploading, uploads } = this.session;
    if (uploading) return { src: uploading.url, name: uploading.name || t('query.pasted') };
    if (state.upload !== null) {
      const known = uploads.known(state.upload);
      const ratio = known ? known.width / known.height : undefined;
      return { src: uploads.address(state.upload), name: known?.name || t('query.uploaded'), ratio };
    }
    if (state.item !== null) {
      const facts = this.itemFacts?.id === state.item ? this.itemFacts : {};
      return { src: api.thumbnail(state.item, 1024), name: facts.path ? nameOf(facts) : '', ratio: facts.width ? facts.width / facts.height : undefined };
    }
    return null;
  }

  #detail() {
    const { session } = this;
    const { state } = session;
    const review = state.view === 'duplicates' ? this.querySelector('hg-duplicates')?.beside?.(state.open) : null;
    const order = review?.order ?? session.shown.entries.map(({ hit }) => hit.id);
    const index = order.indexOf(state.open);
    const asked = this.#asked();
    const query = review ? review.query : asked && { ...asked, box: state.box, ask: queryOf(state) };
    return html`<hg-detail .item=${state.open} .hit=${review ? review.hit : hitOf(session.results, state.open)} .query=${query} .marks=${state}
      .ends=${[index > 0, index >= 0 && index < order.length - 1]} .session=${session} .language=${spoken()}
      @leave=${() => this.#leave()} @step=${({ detail }) => session.open(order[index + detail])}
      @seek=${({ detail }) => session.searchItem(detail.id)} @mark=${({ detail }) => session.mark(detail.id, detail.list)}></hg-detail>`;
  }

  async #leave() {
    const { open } = this.session.state;
    this.session.addEventListener('change', async () => {
      await this.updateComplete;
      if (this.session.state.open === null) this.querySelector('hg-duplicates, hg-grid')?.focusItem?.(open);
    }, { once: true });
    this.session.close();
  }

  #help() {
    const close = () => (this.helping = false);
    return html`<dialog class="help" aria-labelledby="help-title" @close=${close}
        @click=${(event) => event.target === event.currentTarget && close()}>
      <header><h2 id="help-title">${t('help.title')}</h2>
        <button type="button" class="round" aria-label=${t('close')} title=${t('close')} @click=${close}>${icon('close')}</button></header>
      ${keyTable()}
      <label class="switch"><input type="checkbox" role="switch" ?checked=${keysOn()} @change=${(event) => turnKeys(event.target.checked)}><span>${t('help.single')}</span></label>
      <p class="hint">${t('help.about')}</p>
    </dialog>`;
  }

  #paste(event) {
    if (event.target.closest?.('input, textarea') && !event.clipboardData.files.length) return;
    const file = [...event.clipboardData.files].find(({ type }) => type.startsWith('image/'));
    const text = event.clipboardData.getData('text/plain').trim();
    if (file) this.session.searchPicture(file, file.name === 'image.png' ? '' : file.name);
    else if (text && this.session.library.text) this.session.searchText(text.slice(0, 500));
    else return;
    event.preventDefault();
  }

  _dragenter(event) {
    if (!carries(event)) return;
    this.depth += 1;
    this.dropping = true;
  }

  _dragover(event) {
    if (!carries(event)) return;
    event.preventDefault();
    event.dataTransfer.dropEffect = 'copy';
  }

  _dragleave(event) {
    if (!carries(event)) return;
    this.depth -= 1;
    if (this.depth <= 0) this.#undrop();
  }

  _drop(event) {
    if (!carries(event)) return;
    event.preventDefault();
    this.#undrop();
    const item = event.dataTransfer.getData(ITEM);
    const [file] = event.dataTransfer.files;
    if (item) this.session.searchItem(Number(item));
    else if (file) this.session.searchPicture(file, file.name);
  }

  #undrop() {
    this.depth = 0;
    this.dropping = false;
  }

  #key(event) {
    const act = doing(event);
    if (!act) return;
    const { session } = this;
    const detail = this.querySelector('hg-detail');
    const grid = this.querySelector('hg-grid');
    const review = this.querySelector('hg-duplicates');
    const hit = detail ? { id: detail.item } : grid?.active();
    const grains = session.library.grains.map(({ name }) => name);
    const turn = (by) => {
      const next = grains[grains.indexOf(session.grain) + by];
      if (next && session.asking) session.go({ grain: next });
    };
    const acts = {
      words: () => !detail && this.querySelector('#words')?.focus(),
      bar: () => !detail && this.querySelector('.views [aria-current]')?.focus(),
      choose: () => !detail && (review ? review.chooseActive() : grid?.chooseActive()),
      nextGroup: () => !detail && review?.step(1),
      groupBefore: () => !detail && review?.step(-1),
      copies: () => !detail && review?.chooseGroup(),
      filter: () => !detail && this.querySelector('#where')?.focus(),
      seek: () => hit && session.searchItem(hit.id),
      like: () => hit && session.mark(hit.id, 'like'),
      unlike: () => hit && session.mark(hit.id, 'unlike'),
      box: () => !detail && this.querySelector('hg-box')?.begin(),
      coarser: () => turn(-1),
      finer: () => turn(1),
      group: () => session.asking && session.go({ group: !session.state.group }),
      help: () => (this.helping = true),
      mode: () => detail?.choose(Number(event.key)),
    };
    event.preventDefault();
    acts[act]();
  }
}

const carries = ({ dataTransfer }) => dataTransfer && (dataTransfer.types.includes('Files') || dataTransfer.types.includes(ITEM));

customElements.define('hg-app', App);
