// Copies to review: each group has the picture that is kept, and its copies beside it, with the reasons.

import { LitElement, html, nothing } from '../vendor/lit.js';
import * as api from './api.js';
import { EMPTY, writeAddress } from './address.js';
import { takeOut, trash } from './changes.js';
import { icon } from './icons.js';
import { reasonText } from './reasons.js';
import { makingBar, problemBox } from './results.js';
import { nameOf } from './telling.js';
import { bytes, count, t } from './texts.js';

const PAGE = 20; // groups asked for at once
const WORDS = ['same', 'near'];

export class Duplicates extends LitElement {
  static properties = {
    session: { attribute: false },
    groups: { state: true }, // null before the first answer
    word: { state: true }, // how near copies are
    chosen: { state: true }, // ids of the copies that are marked
    share: { state: true },
    problem: { state: true },
    current: { state: true }, // the group that has the focus
    revision: { type: Number },
    language: {},
  };

  constructor() {
    super();
    this.word = WORDS[0];
    this.chosen = new Set();
    this.groups = null;
    this.current = 0;
    this.went = ({ detail }) => this.#drop(new Set(detail));
    this.came = () => this.#begin();
  }

  createRenderRoot() {
    return this;
  }

  connectedCallback() {
    super.connectedCallback();
    this.session.addEventListener('gone', this.went);
    this.session.addEventListener('back', this.came);
    this.sight = new IntersectionObserver((seen) => seen.some(({ isIntersecting }) => isIntersecting) && this.#more(), { rootMargin: '600px' });
    this.#begin();
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    this.session.removeEventListener('gone', this.went);
    this.session.removeEventListener('back', this.came);
    this.sight.disconnect();
    this.asking?.abort();
  }

  updated() {
    const end = this.querySelector('.end');
    if (end !== this.end) {
      this.sight.disconnect();
      if (end) this.sight.observe(end);
      this.end = end;
    }
  }

  #begin(word = this.word) {
    this.word = word;
    this.groups = null;
    this.next = null;
    this.chosen = new Set();
    this.current = 0;
    return this.#load();
  }

  async #load() {
    this.asking?.abort();
    const asking = (this.asking = new AbortController());
    this.problem = null;
    this.loading = true;
    try {
      const found = await api.duplicates({ word: this.word, cursor: this.next, k: PAGE }, asking.signal, (share) => (this.share = share));
      this.groups = [...(this.groups ?? []), ...found.groups];
      this.next = found.next;
      this.total = found.total;
      this.session.redraw(); // an open picture may now stand beside its original
    } catch (problem) {
      if (!asking.signal.aborted) this.problem = problem;
    }
    if (this.asking === asking) this.loading = false;
  }

  #more() {
    if (this.next && !this.loading && !this.problem) this.#load();
  }

  /** Leave out what is no longer in the library. */
  #drop(out) {
    const before = this.groups ?? [];
    this.groups = before
      .map((group) => ({ ...group, copies: group.copies.filter(({ item }) => !out.has(item.id)) }))
      .filter(({ kept, copies }) => copies.length && !out.has(kept.id));
    const copies = before.reduce((sum, group) => sum + group.copies.filter(({ item }) => out.has(item.id)).length, 0);
    if (this.total) this.total = { groups: this.total.groups - before.length + this.groups.length, copies: this.total.copies - copies };
    this.chosen = new Set([...this.chosen].filter((id) => !out.has(id)));
    this.current = Math.min(this.current, Math.max(0, this.groups.length - 1));
  }

  render() {
    const { groups, problem } = this;
    return html`<main id="main" tabindex="-1" class="leafing reviewing">
      <div class="viewhead"><h1 class="title">${t('view.duplicates')}</h1>
        <p class="count" role="status">${groups && this.total ? t('duplicates.total', { n: this.total.groups, copies: this.total.copies }) : ''}</p>
        <span class="gap"></span>
        <label class="sort"><span class="unseen">${t('duplicates.word')}</span><select @change=${(event) => this.#begin(event.target.value)}>
          ${WORDS.map((word) => html`<option value=${word} ?selected=${word === this.word}>${t(`duplicates.${word}`)}</option>`)}</select></label></div>
      ${problem ? problemBox(problem, html`<button type="button" @click=${() => this.#load()}>${t('problem.retry')}</button>`) : nothing}
      ${groups || problem ? nothing : makingBar(this.share ?? 0, t('making'))}
      ${groups?.length ? this.#bar() : nothing}
      ${groups && !groups.length && !problem ? html`<div class="empty"><p class="large">${t('duplicates.none')}</p><p>${t('duplicates.none.hint')}</p></div>` : nothing}
      ${(groups ?? []).map((group, i) => this.#group(group, i))}
      ${this.next ? html`<p class="hint more end"><span class="spinner"></span>${t('loading')}</p>` : nothing}
    </main>`;
  }

  #bar() {
    const { writable, features = {} } = this.session.library;
    if (!writable) return html`<p class="notice">${t('duplicates.readonly')}</p>`;
    const ids = [...this.chosen];
    const all = this.groups.flatMap(({ copies }) => copies.map(({ item }) => item.id));
    return html`<div class="reviewbar" role="group" aria-label=${t('duplicates.bar')}>
      <button type="button" class="quiet" @click=${() => (this.chosen = new Set(ids.length === all.length ? [] : all))}>
        ${t(ids.length === all.length ? 'duplicates.unmark' : 'duplicates.mark', { n: all.length })}</button>
      <span class="gap"></span><p role="status">${t('duplicates.marked', { n: ids.length })}</p>
      ${features.trash ? html`<button type="button" ?disabled=${!ids.length || this.acting} @click=${() => this.#act(trash, ids)}>${icon('trash')}${t('duplicates.trash')}</button>` : nothing}
      <button type="button" ?disabled=${!ids.length || this.acting} @click=${() => this.#act(takeOut, ids)}>${icon('out')}${t('out')}</button></div>`;
  }

  async #act(act, ids) {
    this.acting = true;
    this.requestUpdate();
    await act(this.session, ids);
    this.acting = false;
    this.requestUpdate();
    await this.updateComplete;
    this.#focus(this.current);
  }

  #group({ kept, reasons, copies }, number) {
    const title = t('duplicates.group', { number: number + 1, n: copies.length + 1 });
    return html`<section class="copygroup ${number === this.current ? 'current' : ''}" aria-label=${title} data-number=${number} @focusin=${() => (this.current = number)}>
      <h2 id="group-${number}">${title}</h2>
      <div class="row">
        ${this.#figure(kept, { what: t('duplicates.kept'), reasons })}
        ${copies.map(({ item, distance, reasons: why }) => this.#figure(item, { what: distance ? t('hit.bits', { n: distance }) : t('duplicates.equal'), reasons: why, copy: true }))}
      </div></section>`;
  }

  #figure(item, { what, reasons, copy = false }) {
    const marked = this.chosen.has(item.id);
    const name = nameOf(item);
    const ratio = item.width && item.height ? Math.min(2, Math.max(0.6, item.width / item.height)) : 1;
    return html`<figure class="copyshot ${copy ? '' : 'kept'} ${marked ? 'marked' : ''}" data-id=${item.id}>
      <a href=${writeAddress({ ...EMPTY, view: 'duplicates', open: item.id })} .style=${`aspect-ratio:${ratio}`} aria-label=${name} @click=${(event) => this.#open(event, item.id)}>
        <img src=${api.thumbnail(item.id, 480)} alt="" loading="lazy" decoding="async"></a>
      <figcaption>
        ${copy && this.session.library.writable
          ? html`<label class="mark"><input type="checkbox" .checked=${marked} @change=${() => this.#mark([item.id], !marked)}><b>${t('duplicates.copy')}</b><span class="unseen">${name}</span></label>`
          : html`<b class=${copy ? '' : 'badge'}>${copy ? t('duplicates.copy') : what}</b>`}
        <span class="path" title=${item.path}>${name}</span>
        <span>${[item.width ? `${count(item.width)} × ${count(item.height)}` : '', item.size ? bytes(item.size) : '', copy ? what : ''].filter(Boolean).join(' · ')}</span>
        ${(reasons ?? []).map((reason) => html`<span class="reason">${reasonText(reason)}</span>`)}
      </figcaption></figure>`;
  }

  #mark(ids, on) {
    const chosen = new Set(this.chosen);
    for (const id of ids) {
      if (on) chosen.add(id);
      else chosen.delete(id);
    }
    this.chosen = chosen;
  }

  #open(event, id) {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    this.session.open(id);
  }

  /** Mark the copy that has the focus, or no longer; for keys. */
  chooseActive() {
    const id = Number(document.activeElement?.closest?.('.copyshot:not(.kept)')?.dataset.id);
    if (id && this.session.library.writable) this.#mark([id], !this.chosen.has(id));
  }

  /** Mark all copies of the group that has the focus, or none; for keys. */
  chooseGroup() {
    const ids = this.groups?.[this.current]?.copies.map(({ item }) => item.id) ?? [];
    if (this.session.library.writable) this.#mark(ids, !ids.every((id) => this.chosen.has(id)));
  }

  /** Go on to the next group (1), or back to the one before (-1). */
  step(by) {
    const last = (this.groups?.length ?? 0) - 1;
    const inside = document.activeElement?.closest?.('.copygroup');
    this.#focus(Math.min(last, Math.max(0, inside ? this.current + by : this.current)));
  }

  #focus(number) {
    const group = this.querySelector(`.copygroup[data-number="${number}"]`);
    group?.scrollIntoView({ block: 'center' });
    (group?.querySelector('.copyshot:not(.kept) a') ?? group?.querySelector('a'))?.focus({ preventScroll: true });
  }

  focusItem(id) {
    this.querySelector(`.copyshot[data-id="${id}"] a`)?.focus();
  }

  /** For the detail view: the order of the pictures, and what an open one is compared with. */
  beside(id) {
    const group = this.groups?.find(({ kept, copies }) => kept.id === id || copies.some(({ item }) => item.id === id));
    if (!group) return null;
    const { kept } = group;
    const items = [kept, ...group.copies.map(({ item }) => item)];
    const query = kept.id === id ? null
      : { src: api.thumbnail(kept.id, 1024), name: nameOf(kept), ratio: kept.width ? kept.width / kept.height : undefined, box: null, ask: { item: kept.id } };
    return { order: items.map((item) => item.id), query, hit: items.find((item) => item.id === id) };
  }
}

customElements.define('hg-duplicates', Duplicates);
