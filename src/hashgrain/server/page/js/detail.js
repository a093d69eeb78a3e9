// One picture, large, with what is known of it and how it compares with what was searched for.

import { LitElement, html, nothing } from '../vendor/lit.js';
import * as api from './api.js';
import { TAG, tag, tagsOf } from './changes.js';
import { MODES } from './compare.js';
import { icon } from './icons.js';
import './tags.js';
import { grainText, nameOf, problemText, scoreText, wordText } from './telling.js';
import { bytes, count, date, t } from './texts.js';

const LARGE = 1024;

/** A dialog. Fires `leave`, `step` with -1 or 1, `seek`, `mark` {id, list}. */
export class Detail extends LitElement {
  static properties = {
    item: { type: Number },
    hit: { attribute: false }, // of the search, or null
    query: { attribute: false }, // what it was found with, as Compare takes it, or null
    marks: { attribute: false },
    ends: { attribute: false }, // [there is one before, there is one after]
    session: { attribute: false },
    mode: { state: true },
    facts: { state: true },
    problem: { state: true },
    language: {},
  };

  constructor() {
    super();
    this.mode = 'picture';
    this.pressed = (event) => this.#key(event); // of the window: what had the focus may be gone
  }

  connectedCallback() {
    super.connectedCallback();
    addEventListener('keydown', this.pressed);
  }

  createRenderRoot() {
    return this;
  }

  firstUpdated() {
    this.querySelector('dialog').showModal();
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    removeEventListener('keydown', this.pressed);
    this.asking?.abort();
  }

  willUpdate(changed) {
    if (changed.has('item')) this.#load();
    if (!this.query) this.mode = 'picture';
  }

  async #load() {
    this.asking?.abort();
    const asking = (this.asking = new AbortController());
    this.problem = null;
    try {
      const facts = await api.item(this.item, asking.signal);
      if (!asking.signal.aborted) this.facts = facts;
    } catch (problem) {
      if (asking.signal.aborted) return;
      this.facts = null;
      this.problem = problem;
    }
  }

  render() {
    const known = this.hit ?? (this.facts?.id === this.item ? this.facts : null);
    const name = known ? nameOf(known) : '';
    const src = `api/v1/items/${this.item}/thumbnail?edge=${LARGE}`;
    const hit = { id: this.item, src, name, box: this.hit?.part?.box ?? null, ratio: ratioOf(known) };
    return html`<dialog class="detail" aria-labelledby="detail-name" @cancel=${this.#cancel} @close=${this.#closed}
        @click=${this.#backdrop}>
      <header>
        <h2 id="detail-name" tabindex="-1" autofocus>${name || t('detail.picture', { id: this.item })}</h2>
        <div class="steps">
          <button type="button" class="round" ?disabled=${!this.ends[0]} aria-label=${t('detail.before')} title=${t('detail.before')}
            @click=${() => this.#step(-1)}>${icon('left')}</button>
          <button type="button" class="round" ?disabled=${!this.ends[1]} aria-label=${t('detail.after')} title=${t('detail.after')}
            @click=${() => this.#step(1)}>${icon('right')}</button>
          <button type="button" class="round" aria-label=${t('close')} title=${t('close')} @click=${this.#leave}>${icon('close')}</button>
        </div>
      </header>
      ${this.query ? this.#modes() : nothing}
      <div class="stage">
        ${this.problem?.status === 404
          ? html`<p class="error" role="alert">${t('detail.gone')}</p>`
          : html`<hg-compare .mode=${this.mode} .query=${this.query} .hit=${hit} .language=${this.language}></hg-compare>`}
      </div>
      <div class="about">
        <div class="acts">
          <button type="button" class="strong" @click=${() => this.#fire('seek')}>${icon('search')}${t('detail.seek')}</button>
          ${this.#mark('like', 'plus')}${this.marks.text ? nothing : this.#mark('unlike', 'minus')}
        </div>
        ${this.hit && this.hit.score !== undefined ? this.#measure() : nothing}
        ${this.#tags()}
        ${this.#facts(known)}
      </div>
    </dialog>`;
  }

  #modes() {
    return html`<fieldset class="modes"><legend class="unseen">${t('compare.legend')}</legend>
      ${MODES.map(
        (mode) => html`<label><input type="radio" name="mode" value=${mode} .checked=${this.mode === mode}
          @change=${() => (this.mode = mode)}><span>${t(`compare.${mode}`)}</span></label>`,
      )}</fieldset>`;
  }

  #mark(list, drawing) {
    const pressed = this.marks[list].includes(this.item);
    return html`<button type="button" aria-pressed=${String(pressed)}
      @click=${() => this.#fire('mark', { id: this.item, list })}>${icon(drawing)}${t(`detail.${list}`)}</button>`;
  }

  #measure() {
    const { hit } = this;
    const { grains } = this.session.library;
    return html`<section class="measure">
      <p class="verdict">${hit.word ? html`<span class="word ${hit.word}">${wordText(hit)}</span>` : nothing}
        <span>${t('hit.score', { score: scoreText(hit) })}</span></p>
      <dl class="grains">${grains.map(({ name, bits }) => {
        const differ = hit.distances?.[name];
        return differ === undefined
          ? nothing
          : html`<div><dt>${grainText(name)}</dt><dd><meter min="0" max=${bits} value=${bits - differ}
              aria-label=${t('detail.agree', { grain: grainText(name) })}></meter>
              <span>${t('detail.bits', { agree: bits - differ, of: bits })}</span></dd></div>`;
      })}</dl>
      ${hit.part ? html`<p class="hint">${t(hit.part.box ? 'detail.part' : 'detail.whole')}</p>` : nothing}
    </section>`;
  }

  #tags() {
    if (this.facts?.id !== this.item) return nothing;
    const names = tagsOf(this.facts).map((name) => ({ name }));
    return html`<hg-tags .session=${this.session} .names=${names} .label=${t('tags.add.here')} .language=${this.language}
      @add=${({ detail }) => this.#change({ add: [detail] })} @remove=${({ detail }) => this.#change({ remove: [detail] })}></hg-tags>
      ${this.wrong ? html`<p class="error" role="alert">${problemText(this.wrong)}</p>` : nothing}`;
  }

  async #change(change) {
    const done = await tag(this.session, [this.item], change);
    this.wrong = done ? null : this.session.notice.problem;
    this.session.say(null); // it is said here
    this.#load();
  }

  #facts(known) {
    if (this.problem && this.problem.status !== 404) return html`<p class="error" role="alert">${problemText(this.problem)}</p>`;
    if (!known) return html`<p class="hint">${t('loading')}</p>`;
    const facts = { ...known, ...(this.facts?.id === this.item ? this.facts : {}) };
    const rows = [
      ['path', facts.path],
      ['pixels', facts.width ? `${count(facts.width)} × ${count(facts.height)}` : null],
      ['format', facts.format?.toUpperCase()],
      ['size', facts.size > 0 ? bytes(facts.size) : null],
      ['taken', facts.taken ? date(facts.taken) : null],
    ];
    const told = ([key, value]) => value !== null && value !== '' && (key !== TAG || !tagsOf(facts).length);
    const own = Object.entries({ ...facts.details, ...facts.meta }).filter(told);
    return html`<dl class="facts">
        ${rows.map(([key, value]) => (value ? html`<div><dt>${t(`fact.${key}`)}</dt><dd>${value}</dd></div>` : nothing))}
        ${own.map(([key, value]) => html`<div><dt>${key}</dt><dd>${typeof value === 'object' ? JSON.stringify(value) : String(value)}</dd></div>`)}
      </dl>
      <p><a href=${api.original(this.item)} target="_blank" rel="noopener">${t('detail.original')}</a></p>`;
  }

  #fire(name, detail = { id: this.item }) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }

  #step(by) {
    if (this.ends[by < 0 ? 0 : 1]) this.#fire('step', by);
  }

  #leave() {
    this.#fire('leave');
  }

  #cancel(event) {
    event.preventDefault();
    this.#leave();
  }

  #closed() {
    if (this.isConnected) this.#leave();
  }

  #backdrop(event) {
    if (event.target === event.currentTarget) this.#leave();
  }

  #key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches?.('input[type="radio"], input[type="range"]')) return;
    if (event.key === 'ArrowLeft' || event.key === 'ArrowRight') {
      event.preventDefault();
      this.#step(event.key === 'ArrowLeft' ? -1 : 1);
    }
  }

  /** Show a comparison by its number, from 1; for keys. */
  choose(number) {
    if (this.query && MODES[number - 1]) this.mode = MODES[number - 1];
  }
}

const ratioOf = (known) => (known?.width && known.height ? known.width / known.height : undefined);

customElements.define('hg-detail', Detail);
