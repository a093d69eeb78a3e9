// How to search: the picture or words, examples, the grain dial, the cut-off, the filter, grouping.

import { LitElement, html, live, nothing } from '../vendor/lit.js';
import { thumbnail } from './api.js';
import { icon } from './icons.js';
import { MOST_WITHIN } from './sources.js';
import './tags.js';
import { grainText } from './telling.js';
import { t, tOr } from './texts.js';

const PAUSE = 160; // milliseconds without a change before a search

/** Works on a session. `shown` counts the pictures that are seen now; `asked` is what is searched with, or null. */
export class Panel extends LitElement {
  static properties = {
    session: { attribute: false },
    asked: { attribute: false }, // {src, name, ratio} of a picture
    shown: { type: Number },
    least: { type: Number }, // the cut-off as the slider says it, which the search follows
    wide: { type: Boolean }, // whether there is room to show all of it
    revision: { type: Number }, // of the session: it changes inside
    language: {},
  };

  createRenderRoot() {
    return this;
  }

  render() {
    const { state, library } = this.session;
    return html`
      ${this.#query()}
      ${state.like.length || state.unlike.length ? this.#examples() : nothing}
      <details class="refine" ?open=${this.opened || Boolean(state.where) || (this.wide && this.session.asking)}
        @toggle=${(event) => (this.opened = event.target.open && !(this.wide && this.session.asking))}>
        <summary>${t(this.session.asking ? 'side.refine' : 'filter.label')}</summary><div class="controls">
        ${this.session.asking ? html`${this.#dial(library)}${this.#cutOff()}` : nothing}
        ${this.#filter(library)}
        ${this.session.asking ? this.#ways(library) : nothing}
      </div></details>
      ${state.area ? this.#area() : nothing}
      <hg-facets .session=${this.session} .revision=${this.revision} .language=${this.language}></hg-facets>`;
  }

  #query() {
    const { state } = this.session;
    if (this.asked) {
      return html`<section class="query" aria-labelledby="query-title">
        <h2 id="query-title">${t('query.title')}</h2>
        <hg-box .src=${this.asked.src} .name=${this.asked.name} .ratio=${this.asked.ratio ?? 1} .box=${state.box} .language=${this.language} @box=${this.#box}></hg-box>
        <div class="queryfoot"><span class="name" title=${this.asked.name}>${this.asked.name}</span>
          <button type="button" class="quiet" @click=${() => this.session.clear()}>${t('query.clear')}</button></div>
      </section>`;
    }
    if (!state.text && !this.session.asking) return nothing;
    return html`<section class="query words" aria-labelledby="query-title">
      <h2 id="query-title">${t('query.title')}</h2>
      ${state.text ? html`<p class="text">“${state.text}”</p>${this.#read()}` : html`<p class="hint">${t('query.examples')}</p>`}
      <div class="queryfoot"><button type="button" class="quiet" @click=${() => this.session.clear()}>${t('query.clear')}</button></div>
    </section>`;
  }

  /** That only an area of the map is searched. */
  #area() {
    const { results } = this.session;
    return html`<section class="within" aria-label=${t('area.title')}><p class="tagged">${t('area.title')}
      <button type="button" aria-label=${t('area.remove')} title=${t('area.remove')} @click=${() => this.session.go({ area: null })}>${icon('close')}</button></p>
      ${this.session.asking && results?.ids?.length === MOST_WITHIN ? html`<p class="hint">${t('area.most', { n: MOST_WITHIN })}</p>` : nothing}</section>`;
  }

  /** How the words were understood. */
  #read() {
    const { results } = this.session;
    const words = results?.state.text === this.session.state.text ? results.words : null;
    if (!words) return nothing;
    const nouns = (words.found ?? []).map(({ typed, noun, guessed }) =>
      typed === noun ? noun : t(guessed ? 'words.guessed' : 'words.read', { typed, noun }));
    const unknown = [...(words.unknown ?? []), ...(words.not_seen ?? [])];
    return html`
      ${nouns.length ? html`<p class="hint">${t('words.found', { words: nouns.join(', ') })}</p>` : nothing}
      ${words.ignored?.length ? html`<p class="hint">${t('words.ignored', { words: words.ignored.join(', ') })}</p>` : nothing}
      ${unknown.length ? html`<p class="hint warn">${t('words.unknown', { words: unknown.join(', ') })}</p>` : nothing}`;
  }

  #box({ detail: { box, done } }) {
    clearTimeout(this.boxing);
    clearTimeout(this.settling);
    const rounded = box?.map((edge) => Math.round(edge * 1e4) / 1e4) ?? null; // as the address has it
    const search = () => {
      this.session.go(rounded ? { box: rounded, like: [], unlike: [] } : { box: null }, { tune: 'box' });
      this.settling = setTimeout(() => this.session.settle(), 1000);
    };
    if (done) search();
    else this.boxing = setTimeout(search, PAUSE);
  }

  #examples() {
    const { state } = this.session;
    const list = (name) =>
      state[name].length
        ? html`<div><h3>${t(`examples.${name}`)}</h3><ul role="list">${state[name].map(
            (id) => html`<li><img src=${thumbnail(id, 128)} alt=""><button type="button"
              aria-label=${t(`examples.${name}.remove`, { id: String(id) })} title=${t('examples.remove')}
              @click=${() => this.session.mark(id, name)}>${icon('close')}</button></li>`,
          )}</ul></div>`
        : nothing;
    return html`<section class="examples" aria-label=${t('examples.title')}>${list('like')}${list('unlike')}</section>`;
  }

  #dial({ grains }) {
    const chosen = this.session.grain;
    return html`<fieldset class="dial"><legend>${t('dial.legend')}</legend>
      <div class="track">${grains.map(
        ({ name, bits }) => html`<label title=${t('dial.width', { n: bits })}><input type="radio" name="grain" value=${name}
          .checked=${live(name === chosen)} @change=${() => this.session.go({ grain: name })}>
          <span>${grainText(name)}</span></label>`,
      )}</div>
      <p class="hint">${tOr(`dial.${chosen}`, t('dial.width', { n: grains.find(({ name }) => name === chosen)?.bits ?? 0 }))}</p>
    </fieldset>`;
  }

  #cutOff() {
    const { results, phase } = this.session;
    const more = results?.next && phase !== 'error' && results.hits.at(-1)?.score >= this.least;
    const counted = !results || phase === 'error' ? '' : more && results.total === null ? t('cutoff.atleast', { n: this.shown }) : t('cutoff.shown', { n: this.shown });
    return html`<div class="cutoff">
      <label for="cutoff">${t('cutoff.label')}</label><span class="value" aria-hidden="true">${this.least.toFixed(2)}</span>
      <input id="cutoff" type="range" min="0" max="1" step="0.01" .value=${live(String(this.least))} aria-describedby="cutoff-count"
        aria-valuetext=${`${this.least.toFixed(2)}, ${counted}`} @input=${this.#cut} @change=${() => this.#cutNow()}>
      <p id="cutoff-count" class="hint">${counted}</p></div>`;
  }

  #cut(event) {
    const score = Number(event.target.value);
    this.session.cut(score); // what is loaded follows at once
    clearTimeout(this.cutting);
    this.cutting = setTimeout(() => this.session.go({ score }, { tune: 'score' }), PAUSE);
  }

  #cutNow() {
    clearTimeout(this.cutting);
    this.session.go({ score: this.least }, { tune: 'score' });
    clearTimeout(this.settling);
    this.settling = setTimeout(() => this.session.settle(), 1000); // arrow keys fire one change each
  }

  #filter({ fields }) {
    const { state, problem } = this.session;
    const wrong = problem && isFilter(problem) ? problem : null;
    return html`<form class="filter" @submit=${this.#filtered}>
      <label for="where">${t('filter.label')}</label>
      <div class="field"><input id="where" name="where" autocomplete="off" autocapitalize="off" spellcheck="false" .value=${live(this.typed ?? state.where)}
        placeholder=${t('filter.example')} aria-invalid=${String(Boolean(wrong))} aria-describedby=${wrong ? 'where-error' : 'where-hint'}
        @input=${(event) => (this.typed = event.target.value)}>
        ${state.where ? html`<button type="button" class="round" aria-label=${t('filter.clear')} title=${t('filter.clear')} @click=${this.#unfilter}>${icon('close')}</button>` : nothing}
        <button type="submit" class="quiet">${t('filter.apply')}</button></div>
      ${wrong ? html`<p id="where-error" class="error" role="alert">${wrong.message}</p>` : nothing}
      <details class="fields"><summary id="where-hint">${t('filter.fields')}</summary>
        <p>${(fields ?? []).map((name) => html`<button type="button" class="chip" @click=${() => this.#insert(name)}>${name}</button>`)}</p></details>
    </form>`;
  }

  #filtered(event) {
    event.preventDefault();
    const where = (this.typed ?? this.session.state.where).trim();
    this.typed = null;
    this.session.go({ where });
  }

  #unfilter() {
    this.typed = null;
    this.session.go({ where: '' });
    this.querySelector('#where').focus();
  }

  #insert(name) {
    const input = this.querySelector('#where');
    const quoted = /^[A-Za-z_][\w.]*$/.test(name) ? name : `\`${name}\``;
    this.typed = `${input.value}${input.value && !input.value.endsWith(' ') ? ' ' : ''}${quoted} `;
    input.value = this.typed;
    input.focus();
  }

  #ways({ items_with_parts: parts }) {
    const { state } = this.session;
    return html`<div class="ways">
      <label class="switch"><input type="checkbox" role="switch" .checked=${live(state.group)}
        @change=${(event) => this.session.go({ group: event.target.checked })}><span>${t('group.label')}</span></label>
      ${parts > 0 && !state.text
        ? html`<label class="choice">${t('parts.label')}
            <select @change=${(event) => this.session.go({ parts: event.target.value })}>
              ${['auto', 'whole', 'all'].map((way) => html`<option value=${way} ?selected=${state.parts === way}>${t(`parts.${way}`)}</option>`)}
            </select></label>`
        : nothing}
    </div>`;
  }
}

/** Whether the server refused the filter, which is said below its field and nowhere else. */
export const isFilter = (problem) => problem.code === 'filter';

customElements.define('hg-panel', Panel);
