// The page: what is in its head, beside its results, and over them.

import { LitElement, html, nothing } from '../vendor/lit.js';
import * as api from './api.js';
import { queryOf, writeAddress } from './address.js';
import './box.js';
import './compare.js';
import './detail.js';
import { entriesOf, held, hitOf } from './folding.js';
import { ITEM } from './grid.js';
import { icon } from './icons.js';
import { doing, keyTable, keysOn, turnKeys } from './keys.js';
import { isFilter } from './panel.js';
import { nameOf, problemText } from './telling.js';
import { LANGUAGES, speak, spoken, t } from './texts.js';
import { nextTheme, theme } from './theme.js';

const WIDE = matchMedia('(min-width: 60rem)');

export class App extends LitElement {
  static properties = {
    session: { attribute: false },
    least: { state: true }, // the cut-off while its slider moves; null: that of the state
    unfolded: { state: true },
    dropping: { state: true },
    helping: { state: true },
    itemFacts: { state: true }, // of the picture that is searched with
    revision: { state: true },
  };

  constructor() {
    super();
    this.unfolded = new Set();
    this.revision = 0;
    this.depth = 0; // of drag events: of the page and of what is in it
  }

  createRenderRoot() {
    return this;
  }

  connectedCallback() {
    super.connectedCallback();
    this.session.addEventListener('change', () => this.#changed());
    this.session.addEventListener('place', ({ detail }) => this.#scroll(detail));
    addEventListener('keydown', (event) => this.#key(event));
    addEventListener('paste', (event) => this.#paste(event));
    for (const name of ['dragenter', 'dragover', 'dragleave', 'drop']) addEventListener(name, (event) => this[`_${name}`](event));
    WIDE.addEventListener('change', () => this.requestUpdate());
  }

  #changed() {
    this.least = null;
    this.revision += 1;
    const { item } = this.session.state;
    if (item !== null && this.itemFacts?.id !== item) this.#loadItem(item);
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
    await this.querySelector('hg-grid')?.updateComplete;
    scrollTo({ top, behavior: 'instant' });
  }

  render() {
    const { session } = this;
    const { state, results, phase } = session;
    const least = this.least ?? state.score;
    const current = phase === 'ready' || phase === 'more';
    const { entries, headings } = entriesOf(results, this.unfolded, session.asking ? least : 0);
    const folded = entries.reduce((sum, { hit, copies }) => sum + (this.unfolded.has(hit.id) ? 0 : copies), 0);
    const shown = least === results?.state.score ? (results.total ?? held(results)) : entries.length + folded;
    return html`
      <a class="skip" href="#results">${t('skip')}</a>
      ${this.#head()}
      <main class=${session.asking || session.uploading ? 'asking' : 'leafing'}>
        ${session.asking || session.uploading ? nothing : this.#welcome()}
        <section class="side" aria-label=${t('side.label')}>
          <hg-panel .wide=${WIDE.matches} .session=${session} .asked=${this.#asked()} .shown=${shown} .least=${least} .revision=${this.revision}
            .language=${spoken()} @least=${({ detail }) => (this.least = detail)}></hg-panel>
        </section>
        <section id="results" class="results" tabindex="-1" aria-busy=${String(phase === 'loading')} aria-labelledby="results-title">
          ${this.#told(entries, shown)}
          ${this.#problem()}
          ${phase === 'loading' && !results ? html`<div class="skeleton" aria-hidden="true">${Array.from({ length: 12 }, () => html`<i></i>`)}</div>` : nothing}
          <hg-grid class=${phase === 'loading' || phase === 'error' ? 'stale' : ''} .entries=${phase === 'error' && !results ? [] : entries} .headings=${headings}
            .marks=${state} .unfolded=${this.unfolded} .label=${t('results.label')} .language=${spoken()}
            .link=${(id) => writeAddress({ ...state, open: id })} ?more=${Boolean(current && results?.next)}
            @open=${({ detail }) => session.open(detail.id)} @seek=${({ detail }) => session.searchItem(detail.id)}
            @mark=${({ detail }) => session.mark(detail.id, detail.list)} @unfold=${({ detail }) => this.#unfold(detail.id)}
            @more=${() => session.more()}></hg-grid>
          ${phase === 'more' ? html`<p class="hint more"><span class="spinner"></span>${t('loading')}</p>` : nothing}
        </section>
      </main>
      <p class="unseen" role="status" aria-live="polite">${this.#said(shown)}</p>
      ${state.open === null ? nothing : this.#detail(entries)}
      ${this.dropping ? html`<div class="dropping" aria-hidden="true"><p>${icon('drop')}${t('drop.here')}</p></div>` : nothing}
      ${this.helping ? this.#help() : nothing}`;
  }

  #head() {
    const { library, state } = this.session;
    return html`<header class="head">
      <a class="home" href="./" @click=${this.#home}><b>HashGrain</b><span class="library">${library.name}</span></a>
      <form class="ask" role="search" @submit=${this.#words}>
        ${library.text
          ? html`<span class="glass">${icon('search')}</span><input id="words" name="words" type="search" enterkeyhint="search" autocomplete="off" .value=${state.text}
              placeholder=${t('ask.placeholder')} aria-label=${t('ask.words')}>`
          : html`<span class="nowords">${t('ask.only')}</span>`}
        <label class="pick" title=${t('ask.picture')}><input type="file" accept="image/*" class="unseen" @change=${this.#chosen}>${icon('picture')}<span>${t('ask.picture')}</span></label>
        <label class="pick camera" title=${t('ask.camera')}><input type="file" accept="image/*" capture="environment" class="unseen" @change=${this.#chosen}>${icon('camera')}<span class="unseen">${t('ask.camera')}</span></label>
      </form>
      <div class="tools">
        ${Object.entries(LANGUAGES).filter(([name]) => name !== spoken()).map(
          ([name, own]) => html`<button type="button" class="quiet language" lang=${name === 'zh' ? 'zh-CN' : name} @click=${() => this.#speak(name)}>${own}</button>`)}
        <button type="button" class="round" aria-label=${t(`theme.${theme()}`)} title=${t(`theme.${theme()}`)}
          @click=${() => { nextTheme(); this.requestUpdate(); }}>${icon({ auto: 'half', light: 'sun', dark: 'moon' }[theme()])}</button>
        <button type="button" class="round" aria-label=${t('help.title')} title=${t('help.title')} @click=${() => (this.helping = true)}><b aria-hidden="true">?</b></button>
      </div></header>`;
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

  #told(entries, shown) {
    const { session } = this;
    const { phase, results } = session;
    const asking = session.asking || session.uploading;
    const title = t(asking ? 'results.title' : 'library.title');
    let line = '';
    if (session.uploading) line = t('uploading');
    else if (phase === 'loading') line = t('loading');
    else if (results && phase !== 'error') line = session.asking ? this.#count(shown) : t('library.pictures', { n: session.library.pictures });
    const time = results?.milliseconds;
    const heading = asking ? html`<h1 id="results-title">${title}</h1>` : html`<h2 id="results-title">${title}</h2>`;
    return html`<div class="told">${heading}<p class="count">${line}</p>
        ${session.asking && time !== undefined && phase === 'ready' ? html`<p class="time">${t('results.time', { ms: Math.max(1, Math.round(time)) })}</p>` : nothing}</div>
      ${phase === 'ready' && results?.key && !session.problem ? this.#nothing(entries) : nothing}`;
  }

  #count(shown) {
    const { results } = this.session;
    return results.next && results.total === null ? t('results.more', { n: shown }) : t('results.count', { n: shown });
  }

  #nothing(entries) {
    const { session } = this;
    const { state, library } = session;
    if (!entries.length) {
      const why = !library.pictures ? 'empty.library' : state.where ? 'empty.filter' : state.score > 0 ? 'empty.cutoff' : 'empty.search';
      return html`<div class="empty"><p class="large">${t(why)}</p>
        ${why === 'empty.library' ? html`<p><code>hashgrain add ${library.name} FOLDER</code></p>` : html`<p>${t(`${why}.hint`)}</p>`}
        ${state.score > 0 ? html`<button type="button" @click=${() => session.go({ score: 0 })}>${t('empty.all')}</button>` : nothing}
        ${state.where ? html`<button type="button" @click=${() => session.go({ where: '' })}>${t('filter.clear')}</button>` : nothing}</div>`;
    }
    if (session.asking && entries[0].hit.word === 'far') return html`<p class="notice">${t('empty.far')}</p>`;
    return nothing;
  }

  #problem() {
    const { problem, phase } = this.session;
    if (!problem) return nothing;
    if (isFilter(problem)) return html`<p class="notice">${t('filter.wrong')}</p>`;
    const gone = problem.code === 'upload_gone';
    return html`<div class="problem" role="alert">${icon('warning')}<div><p>${problemText(problem)}</p>
        ${problem.request ? html`<p class="hint">${t('problem.request', { id: problem.request })}</p>` : nothing}
        <p class="acts">${phase === 'error' && !gone ? html`<button type="button" @click=${() => this.session.retry()}>${t('problem.retry')}</button>` : nothing}
          <button type="button" class="quiet" @click=${() => (gone ? this.session.clear() : this.session.dismiss())}>${t(gone ? 'problem.leave' : 'close')}</button></p></div>
      </div>`;
  }

  /** What a reader of the screen hears when a search is done. */
  #said(shown) {
    const { session } = this;
    if (session.uploading) return t('uploading');
    if (session.problem || !session.results || session.phase === 'loading') return '';
    if (!session.asking) return t('library.pictures', { n: session.library.pictures });
    return this.#count(shown);
  }

  #detail(entries) {
    const { session } = this;
    const { state } = session;
    const index = entries.findIndex(({ hit }) => hit.id === state.open);
    const asked = this.#asked();
    const query = asked && { ...asked, box: state.box, ask: queryOf(state) };
    return html`<hg-detail .item=${state.open} .hit=${hitOf(session.results, state.open)} .query=${query} .marks=${state}
      .ends=${[index > 0, index >= 0 && index < entries.length - 1]} .grains=${session.library.grains} .language=${spoken()}
      @leave=${() => this.#leave()} @step=${({ detail }) => session.open(entries[index + detail].hit.id)}
      @seek=${({ detail }) => session.searchItem(detail.id)} @mark=${({ detail }) => session.mark(detail.id, detail.list)}></hg-detail>`;
  }

  async #leave() {
    const { open } = this.session.state;
    this.session.addEventListener('change', async () => {
      await this.updateComplete;
      if (this.session.state.open === null) this.querySelector('hg-grid').focusItem(open);
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

  #unfold(id) {
    const unfolded = new Set(this.unfolded);
    if (!unfolded.delete(id)) unfolded.add(id);
    this.unfolded = unfolded;
  }

  #home(event) {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    this.session.clear();
  }

  async #speak(name) {
    await speak(name, { keep: true });
    this.requestUpdate();
    await this.updateComplete;
    this.querySelector('.language').focus();
  }

  #words(event) {
    event.preventDefault();
    const text = new FormData(event.target).get('words')?.trim();
    if (text) this.session.searchText(text);
    else if (this.session.state.text) this.session.clear();
  }

  #chosen(event) {
    const [file] = event.target.files;
    if (file) this.session.searchPicture(file, file.name);
    event.target.value = '';
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
    const hit = detail ? { id: detail.item } : grid?.active();
    const grains = session.library.grains.map(({ name }) => name);
    const turn = (by) => {
      const next = grains[grains.indexOf(session.grain) + by];
      if (next && session.asking) session.go({ grain: next });
    };
    const acts = {
      words: () => !detail && this.querySelector('#words')?.focus(),
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
