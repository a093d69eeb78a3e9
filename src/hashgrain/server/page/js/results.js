// A list of pictures: what is said of it, the grid, and what there is in its place while it loads or where nothing is.

import { LitElement, html, nothing } from '../vendor/lit.js';
import { SORTS, writeAddress } from './address.js';
import { icon } from './icons.js';
import { isFilter } from './panel.js';
import { size } from './prefs.js';
import { problemText } from './telling.js';
import { spoken, t } from './texts.js';

const WAITING = Array.from({ length: 12 }, () => html`<i></i>`);

/** How far the server is with what it makes of the whole library. */
export const makingBar = (share, text) => html`<div class="making" role="status"><p>${text}</p>
  <progress max="1" .value=${share} aria-label=${text}></progress></div>`;

/** A refusal, with a way on. */
export const problemBox = (problem, ways) => html`<div class="problem" role="alert">${icon('warning')}<div><p>${problemText(problem)}</p>
  ${problem.request ? html`<p class="hint">${t('problem.request', { id: problem.request })}</p>` : nothing}
  <p class="acts">${ways}</p></div></div>`;

/** How many pictures the list of a session has. */
export function countText(session) {
  const { results } = session;
  const n = session.shown.count;
  const open = results.next && results.total === null;
  if (results.source === 'library' && !session.state.where) return t('library.pictures', { n: session.library.pictures });
  if (results.source === 'search') return t(open ? 'results.more' : 'results.count', { n });
  return t(open ? 'list.more' : 'list.count', { n });
}

/** What a reader of the screen hears when a list is there. */
export function saidText(session) {
  if (session.uploading) return t('uploading');
  if (session.problem || !session.results || session.phase === 'loading') return '';
  return countText(session);
}

/** Shows the list of a session. `heading` stands above it, at `level` 1 or 2. */
export class Results extends LitElement {
  static properties = {
    session: { attribute: false },
    heading: {},
    level: { type: Number },
    choosing: { type: Boolean },
    revision: { type: Number },
    language: {},
  };

  createRenderRoot() {
    return this;
  }

  render() {
    const { session } = this;
    const { state, results, phase } = session;
    const { entries, headings } = session.shown;
    const current = phase === 'ready' || phase === 'more';
    const more = Boolean(current && results?.next);
    const sorted = state.sort !== 'score' && !results?.groups;
    return html`<section id="results" class="results" tabindex="-1" aria-busy=${String(phase === 'loading')} aria-labelledby="results-title">
      ${this.#told()}
      ${this.#problem()}
      ${phase === 'ready' && results && !session.problem ? this.#nothing(entries) : nothing}
      ${phase === 'loading' && session.making !== null ? makingBar(session.making, t('making')) : nothing}
      ${phase === 'loading' && !results ? html`<div class="skeleton" aria-hidden="true">${WAITING}</div>` : nothing}
      <hg-grid class=${phase === 'loading' || phase === 'error' ? 'stale' : ''} .entries=${phase === 'error' && !results ? NONE : entries} .headings=${headings}
        .marks=${state} .unfolded=${session.unfolded} .chosen=${session.chosen} ?choosing=${this.choosing} .size=${size()} .label=${t('results.label')}
        .language=${spoken()} .link=${this.#link()} ?more=${more && !sorted}
        @open=${({ detail }) => session.open(detail.id)} @seek=${({ detail }) => session.searchItem(detail.id)}
        @mark=${({ detail }) => session.mark(detail.id, detail.list)} @unfold=${({ detail }) => session.unfold(detail.id)}
        @choose=${({ detail }) => session.choose(detail.ids, detail.on)} @more=${() => session.more()}></hg-grid>
      ${phase === 'more' ? html`<p class="hint more"><span class="spinner"></span>${t('loading')}</p>` : nothing}
      ${sorted && more && phase === 'ready' ? html`<p class="more"><button type="button" @click=${() => session.more()}>${t('sort.more')}</button></p>` : nothing}
    </section>`;
  }

  /** The address of a picture's detail view, by its id. The same function as long as the state is the same. */
  #link() {
    const { state } = this.session;
    if (this.linked !== state) {
      this.linked = state;
      this.link = (id) => writeAddress({ ...state, open: id });
    }
    return this.link;
  }

  #told() {
    const { session } = this;
    const { phase, results, state } = session;
    let line = '';
    if (session.uploading) line = t('uploading');
    else if (phase === 'loading') line = t('loading');
    else if (results && phase !== 'error') line = countText(session);
    const time = results?.milliseconds;
    const heading = this.level === 1 ? html`<h1 id="results-title">${this.heading}</h1>` : html`<h2 id="results-title">${this.heading}</h2>`;
    return html`<div class="told">${heading}<p class="count">${line}</p>
      ${session.outdated && phase === 'ready' ? html`<button type="button" class="quiet fresh" @click=${() => session.refresh({ again: true })}>${t('results.changed')}</button>` : nothing}
      <span class="gap"></span>
      ${session.asking && time !== undefined && phase === 'ready' ? html`<p class="time">${t('results.time', { ms: Math.max(1, Math.round(time)) })}</p>` : nothing}
      ${results && !results.groups && results.hits.length > 1
        ? html`<label class="sort"><span class="unseen">${t('sort.label')}</span><select @change=${(event) => session.go({ sort: event.target.value }, { replace: true })}>
            ${SORTS.map((each) => html`<option value=${each} ?selected=${state.sort === each}>${t(each === 'score' && !session.asking ? 'sort.added' : `sort.${each}`)}</option>`)}</select></label>`
        : nothing}</div>`;
  }

  #nothing(entries) {
    const { session } = this;
    const { state, library } = session;
    if (!entries.length) {
      let why = 'empty.search';
      if (session.results.source === 'area') why = state.where ? 'empty.filter' : 'empty.area';
      else if (!library.pictures) why = 'empty.library';
      else if (state.where) why = 'empty.filter';
      else if (state.score > 0) why = 'empty.cutoff';
      return html`<div class="empty"><p class="large">${t(why)}</p>
        ${why === 'empty.library' ? html`<p><code>hashgrain add ${library.name} FOLDER</code></p>` : html`<p>${t(`${why}.hint`)}</p>`}
        ${state.score > 0 ? html`<button type="button" @click=${() => session.go({ score: 0 })}>${t('empty.all')}</button>` : nothing}
        ${state.where ? html`<button type="button" @click=${() => session.go({ where: '' })}>${t('filter.clear')}</button>` : nothing}</div>`;
    }
    if (session.asking && entries[0].hit.word === 'far' && state.sort === 'score') return html`<p class="notice">${t('empty.far')}</p>`;
    return nothing;
  }

  #problem() {
    const { session } = this;
    const { problem, phase } = session;
    if (!problem) return nothing;
    if (isFilter(problem)) return html`<p class="notice">${t('filter.wrong')}</p>`;
    const gone = problem.code === 'upload_gone';
    return problemBox(problem, html`
      ${phase === 'error' && !gone ? html`<button type="button" @click=${() => session.retry()}>${t('problem.retry')}</button>` : nothing}
      <button type="button" class="quiet" @click=${() => (gone ? session.clear() : session.dismiss())}>${t(gone ? 'problem.leave' : 'close')}</button>`);
  }
}

const NONE = [];

customElements.define('hg-results', Results);
