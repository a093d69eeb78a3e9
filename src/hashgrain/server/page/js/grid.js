// The pictures, in rows that fill the width. Only those near the window are in the page, however many there are.

import { LitElement, classMap, html, noChange, nothing, repeat } from '../vendor/lit.js';
import { thumbnail } from './api.js';
import { icon } from './icons.js';
import { justify, neighbour, rowsWithin } from './layout.js';
import { SIZES } from './prefs.js';
import { boxRect, nameOf, scoreText, wordText } from './telling.js';
import { t } from './texts.js';

export const ITEM = 'application/x-hashgrain-item'; // what a dragged picture of the library is
const GAP = 12;
const CAPTION = 30;
const HEADING = 44;
const AHEAD = 600; // pixels above and below the window that are drawn
const EARLY = 1200; // pixels before the end at which the next page is asked for
const NARROW = 184; // pixels of a card with no room for all of its caption
const STILL = 150; // milliseconds without scrolling after which new cards get their buttons

/** Fires `open`, `seek` (search with), `mark` {id, list}, `unfold` with ids, `choose` {ids, on}, and `more`. */
export class Grid extends LitElement {
  static properties = {
    entries: { attribute: false },
    headings: { attribute: false },
    marks: { attribute: false }, // {like, unlike, text}; words have no counter-examples
    unfolded: { attribute: false },
    chosen: { attribute: false }, // ids of the pictures that are selected
    choosing: { type: Boolean }, // whether pictures can be selected
    size: {}, // of the pictures, as SIZES names it
    more: { type: Boolean },
    label: {},
    link: { attribute: false }, // id -> address of its detail view
    language: {},
  };

  constructor() {
    super();
    this.entries = [];
    this.headings = new Map();
    this.marks = { like: [], unlike: [] };
    this.unfolded = new Set();
    this.chosen = new Set();
    this.size = 'medium';
    this.current = 0;
    this.band = [0, 0];
    this.drawn = new Map(); // id -> what its card was drawn from
    this.width = 0;
    this.layout = justify([], 1, { height: 1, gap: 0, caption: 0 });
    this.scrolled = () => {
      clearTimeout(this.stopping);
      this.stopping = setTimeout(() => this.#stopped(), STILL);
      this.moving = true;
      this.asked ??= requestAnimationFrame(() => {
        this.asked = null;
        this.#look();
      });
    };
  }

  createRenderRoot() {
    return this;
  }

  connectedCallback() {
    super.connectedCallback();
    addEventListener('scroll', this.scrolled, { passive: true });
    addEventListener('resize', this.scrolled, { passive: true });
    this.sizes = new ResizeObserver(() => this.#measure());
    this.sizes.observe(this);
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    removeEventListener('scroll', this.scrolled);
    removeEventListener('resize', this.scrolled);
    this.sizes.disconnect();
    clearTimeout(this.stopping);
  }

  #stopped() {
    this.moving = false;
    this.requestUpdate();
  }

  #measure() {
    const width = Math.floor(this.clientWidth);
    if (width === this.width) return;
    this.width = width;
    this.#place();
    this.requestUpdate();
  }

  willUpdate(changed) {
    if (!this.width) this.width = Math.floor(this.clientWidth);
    if (changed.has('entries') || changed.has('headings') || changed.has('size')) this.#place();
  }

  updated(changed) {
    if (changed.has('entries') || changed.has('more')) this.#look();
  }

  #place() {
    if (!this.width) return;
    const height = SIZES[this.size] * (this.width < 500 ? 132 : this.width < 1000 ? 176 : 208);
    const items = this.entries.map(({ hit }) => hit);
    const sizes = { height, gap: GAP, caption: CAPTION, headings: this.headings, headingHeight: HEADING };
    this.layout = justify(items, this.width, sizes);
    this.current = Math.min(this.current, Math.max(0, this.entries.length - 1));
    this.#band();
  }

  /** Which rows are near the window. */
  #band() {
    const top = -this.getBoundingClientRect().top;
    this.band = rowsWithin(this.layout.rows, top - AHEAD, top + innerHeight + AHEAD);
    return this.layout.height - top - innerHeight;
  }

  #look() {
    const [first, last] = this.band;
    const below = this.#band();
    if (first !== this.band[0] || last !== this.band[1]) this.requestUpdate();
    if (this.more && this.entries.length && below < EARLY) this.dispatchEvent(new Event('more'));
  }

  render() {
    const { rows, titles, height } = this.layout;
    const [first, last] = this.band;
    const shown = rows.slice(first, last);
    const from = shown.length ? shown[0].from : 0;
    const to = shown.length ? shown.at(-1).to : 0;
    const indexes = Array.from({ length: to - from }, (_, i) => from + i);
    if (this.current < this.entries.length && (this.current < from || this.current >= to)) {
      indexes.push(this.current); // what has the focus, or would get it by Tab, stays in the page
    }
    const heads = titles.filter(({ at }) => at >= from && at < to);
    const before = this.drawn;
    this.drawn = new Map(indexes.map((i) => [this.entries[i].hit.id, this.#looks(i, before)]));
    return html`
      ${heads.map(({ y, text }) => html`<h2 class="groupname" .style=${`transform:translateY(${y}px)`}>${text}</h2>`)}
      <ul class="cards" role="list" aria-label=${this.label} .style=${`height:${height}px`}
        @keydown=${this.#key} @focusin=${this.#focused} @click=${this.#click} @dragstart=${this.#drag}>
        ${repeat(indexes, (i) => this.entries[i].hit.id, (i) => this.#drawnCard(i, before))}
      </ul>`;
  }

  /** All that a card depends on. Its buttons are most of it: a card that comes while the page scrolls has them later. */
  #looks(index, before) {
    const entry = this.entries[index];
    const { id } = entry.hit;
    return {
      index,
      entry,
      place: this.layout.places[index],
      liked: this.marks.like.includes(id),
      unliked: this.marks.unlike.includes(id),
      chosen: this.chosen.has(id),
      unfolded: this.unfolded.has(id),
      focused: index === this.current,
      bare: Boolean(this.moving) && (before.get(id)?.bare ?? true) && index !== this.current,
      text: Boolean(this.marks.text),
      choosing: this.choosing,
      count: this.more ? -1 : this.entries.length,
      link: this.link,
      language: this.language,
    };
  }

  /** A card, or nothing new where it is there and looks as it did. */
  #drawnCard(index, before) {
    const { id } = this.entries[index].hit;
    const looks = this.drawn.get(id);
    const old = before.get(id);
    if (old && Object.keys(looks).every((each) => looks[each] === old[each])) return noChange;
    return this.#card(looks);
  }

  #card({ index, entry, place, liked, unliked, chosen, unfolded, focused, bare, text, choosing, count }) {
    const { hit, copies, copyOf } = entry;
    if (!place) return nothing;
    const { x, y, width, height, picture } = place;
    const tab = focused ? '0' : '-1';
    const narrow = width < NARROW;
    const word = wordText(hit);
    const sharp = Math.max(picture.width, picture.height) * Math.min(2, devicePixelRatio);
    const name = nameOf(hit);
    return html`<li class=${classMap({ card: true, narrow, liked, unliked, chosen, copy: copyOf !== null })} data-index=${index}
      aria-setsize=${count} aria-posinset=${index + 1}
      .style=${`transform:translate(${x}px,${y}px);width:${width}px;height:${height + CAPTION}px`}>
      <div class="frame" .style=${`height:${height}px`}>
        <div class="shot" .style=${`width:${picture.width}px;height:${picture.height}px`}>
          <img src=${thumbnail(hit.id, sharp)} alt="" decoding="async"
            width=${Math.round(picture.width)} height=${Math.round(picture.height)}>
          ${hit.part?.box ? boxRect(hit.part.box) : nothing}
        </div>
        <a class="open" href=${this.link(hit.id)} tabindex=${tab} draggable="true"
          aria-label=${[name, ...facts(hit)].join(', ')} title=${name}></a>
        ${choosing && !bare ? html`<div class="picked">${this.#tool('choose', 'check', t('card.choose', { name }), tab, chosen)}</div>` : nothing}
        ${bare ? nothing : html`<div class="tools">
          ${this.#tool('seek', 'search', t('card.seek', { name }), tab)}
          ${this.#tool('like', 'plus', t('card.like', { name }), tab, liked)}
          ${text ? nothing : this.#tool('unlike', 'minus', t('card.unlike', { name }), tab, unliked)}
        </div>`}
        ${copies
          ? html`<button type="button" class="copies" data-do="unfold" tabindex=${tab}
              aria-expanded=${unfolded} aria-label=${t('card.copies', { n: copies })}>
              ${icon('stack')}${unfolded ? '−' : '+'}${copies}</button>`
          : nothing}
      </div>
      <p class="caption" aria-hidden="true">
        ${hit.score === undefined
          ? html`<span class="name">${name}</span>`
          : html`${word ? html`<span class="word ${hit.word}">${word}</span>` : nothing}
              <span class="score">${scoreText(hit)}</span>
              <span class="bits">${t('hit.bits', { n: hit.distance })}</span>`}
      </p></li>`;
  }

  #tool(act, drawing, label, tab, pressed) {
    return html`<button type="button" data-do=${act} tabindex=${tab} title=${label} aria-label=${label}
      aria-pressed=${pressed === undefined ? nothing : String(pressed)}>${icon(drawing)}</button>`;
  }

  #entryAt(event) {
    const card = event.target.closest('.card');
    return card ? this.entries[Number(card.dataset.index)] : null;
  }

  #fire(act, hit) {
    const list = act === 'like' || act === 'unlike' ? act : null;
    this.dispatchEvent(new CustomEvent(list ? 'mark' : act, { detail: { id: hit.id, list } }));
  }

  #click(event) {
    const entry = this.#entryAt(event);
    const act = event.target.closest('[data-do]')?.dataset.do;
    if (!entry) return;
    if (act === 'choose') this.choose(this.entries.indexOf(entry), event.shiftKey);
    else if (act) this.#fire(act, entry.hit);
    else if (event.target.closest('.open') && !event.ctrlKey && !event.metaKey && !event.shiftKey) {
      event.preventDefault();
      this.#fire('open', entry.hit);
    }
  }

  #drag(event) {
    const entry = this.#entryAt(event);
    if (!entry) return;
    event.dataTransfer.setData(ITEM, String(entry.hit.id));
    event.dataTransfer.effectAllowed = 'copyLink';
    const image = event.target.closest('.card').querySelector('img');
    event.dataTransfer.setDragImage(image, image.width / 2, image.height / 2);
  }

  #focused(event) {
    const card = event.target.closest('.card');
    if (!card) return;
    const index = Number(card.dataset.index);
    if (index === this.current) return;
    this.current = index;
    this.requestUpdate();
  }

  #key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const last = this.entries.length - 1;
    const steps = {
      ArrowLeft: () => this.current - 1,
      ArrowRight: () => this.current + 1,
      ArrowUp: () => neighbour(this.layout, this.current, -1),
      ArrowDown: () => neighbour(this.layout, this.current, 1),
      Home: () => 0,
      End: () => last,
    };
    const step = steps[event.key];
    if (!step) return;
    event.preventDefault();
    this.focusOn(Math.min(last, Math.max(0, step())));
  }

  /** Select a picture, or no longer; with `through`, all from the one before to it. */
  choose(index, through = false) {
    const on = !this.chosen.has(this.entries[index].hit.id);
    const from = through && this.before !== undefined ? this.before : index;
    this.before = index;
    const some = this.entries.slice(Math.min(from, index), Math.max(from, index) + 1);
    this.dispatchEvent(new CustomEvent('choose', { detail: { ids: some.map(({ hit }) => hit.id), on } }));
  }

  /** Select what `active` gives. */
  chooseActive() {
    const hit = this.active();
    if (this.choosing && hit) this.choose(this.entries.findIndex((entry) => entry.hit.id === hit.id));
  }

  /** Move the focus to a picture, and the window to it. */
  async focusOn(index) {
    const place = this.layout.places[index];
    if (!place) return;
    this.current = index;
    this.requestUpdate();
    await this.updateComplete;
    const card = this.querySelector(`.card[data-index="${index}"]`);
    card?.scrollIntoView({ block: 'nearest' });
    card?.querySelector('.open').focus({ preventScroll: true });
  }

  /** Bring the focus back to the picture of an id, where it is still there. */
  focusItem(id) {
    const index = this.entries.findIndex(({ hit }) => hit.id === id);
    return index < 0 ? undefined : this.focusOn(index);
  }

  /** The hit that has the focus, or is under the pointer; for keys that act on a picture. */
  active() {
    const card = document.activeElement?.closest?.('.card') ?? this.querySelector('.card:hover');
    return card && this.contains(card) ? this.entries[Number(card.dataset.index)].hit : null;
  }
}

/** What is read out of a hit beside its name. */
function facts(hit) {
  if (hit.score === undefined) return [];
  return [wordText(hit), t('hit.score', { score: scoreText(hit) }), t('hit.bits', { n: hit.distance })].filter(Boolean);
}

customElements.define('hg-grid', Grid);
