// Two pictures against one another: side by side, in turn, their difference, and where they agree.

import { LitElement, html, nothing } from '../vendor/lit.js';
import * as api from './api.js';
import { boxRect, problemText } from './telling.js';
import { t } from './texts.js';

export const MODES = Object.freeze(['picture', 'beside', 'blink', 'difference', 'heat']);
const TURN = 700; // milliseconds that each of two pictures is seen
const LARGEST = 1024; // pixels of the difference
const still = matchMedia('(prefers-reduced-motion: reduce)');

/** `query` is {src, name, box, ask} or null for words; `hit` is {id, src, name, box}. */
export class Compare extends LitElement {
  static properties = {
    mode: {},
    query: { attribute: false },
    hit: { attribute: false },
    turned: { state: true },
    running: { state: true },
    heat: { state: true },
    problem: { state: true },
    language: {},
  };

  constructor() {
    super();
    this.mode = 'picture';
    this.turned = false;
    this.running = !still.matches;
  }

  createRenderRoot() {
    return this;
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    clearInterval(this.timer);
    this.#forget();
  }

  willUpdate(changed) {
    const other = changed.has('hit') && changed.get('hit')?.id !== this.hit?.id;
    if (other || changed.has('query') && changed.get('query')?.src !== this.query?.src) this.#forget();
    if (changed.has('mode') && this.mode === 'blink') this.running = !still.matches;
  }

  updated(changed) {
    clearInterval(this.timer);
    if (this.mode === 'blink' && this.running) this.timer = setInterval(() => (this.turned = !this.turned), TURN);
    if (this.mode === 'difference' && (changed.has('mode') || changed.has('hit') || changed.has('query'))) this.#subtract();
    if (this.mode === 'heat' && !this.heat && !this.problem) this.#explain();
  }

  #forget() {
    this.asking?.abort();
    this.asking = null;
    if (this.heat) URL.revokeObjectURL(this.heat);
    this.heat = null;
    this.problem = null;
  }

  render() {
    const { hit, query } = this;
    switch (query ? this.mode : 'picture') {
      case 'beside':
        return html`<div class="beside">${figure(query, t('compare.query'))}${figure(hit, t('compare.hit'))}</div>`;
      case 'blink': {
        const seen = this.turned ? query : hit;
        return html`<div class="beside one blink">
            ${figure(seen, this.turned ? t('compare.query') : t('compare.hit'))}
            <img class="waiting" src=${(this.turned ? hit : query).src} alt="" aria-hidden="true"></div>
          <div class="modebar"><button type="button" class="quiet" @click=${() => (this.running = !this.running)}>
              ${this.running ? t('compare.stop') : t('compare.start')}</button>
            <button type="button" class="quiet" @click=${this.#turn}>${t('compare.turn')}</button></div>`;
      }
      case 'difference':
        return html`<div class="beside one"><figure><canvas role="img" aria-label=${t('compare.difference.alt', this.#names())}></canvas>
          <figcaption>${t(query.box || hit.box ? 'compare.difference.boxes' : 'compare.difference.hint')}</figcaption></figure></div>`;
      case 'heat':
        return html`<div class="heat" aria-busy=${String(!this.heat && !this.problem)}>
          ${this.heat
            ? html`<img src=${this.heat} alt=${t('compare.heat.alt', this.#names())}>`
            : this.problem
              ? html`<p class="error" role="alert">${problemText(this.problem)}</p>`
              : html`<p class="hint" role="status"><span class="spinner"></span>${t('compare.heat.waiting')}</p>`}</div>`;
      default:
        return html`<div class="beside one">${figure(hit, null)}</div>`;
    }
  }

  #names() {
    return { query: this.query.name, hit: this.hit.name };
  }

  #turn() {
    this.running = false;
    this.turned = !this.turned;
  }

  /** Draw both, each its box or the whole, over one another: what is black is the same. */
  async #subtract() {
    const { hit, query } = this;
    const pictures = await Promise.all([query, hit].map(({ src }) => loaded(src))).catch(() => null);
    const canvas = this.querySelector('canvas');
    if (!canvas || !pictures || hit !== this.hit || query !== this.query) return;
    const [asked, found] = [place(pictures[0], query.box), place(pictures[1], hit.box)];
    const scale = Math.min(1, LARGEST / Math.max(found[2], found[3]));
    canvas.width = Math.max(1, Math.round(found[2] * scale));
    canvas.height = Math.max(1, Math.round(found[3] * scale));
    canvas.style.setProperty('--ratio', canvas.width / canvas.height);
    const pen = canvas.getContext('2d');
    pen.drawImage(pictures[1], ...found, 0, 0, canvas.width, canvas.height);
    pen.globalCompositeOperation = 'difference';
    pen.drawImage(pictures[0], ...asked, 0, 0, canvas.width, canvas.height);
  }

  async #explain() {
    if (this.asking) return;
    const asking = (this.asking = new AbortController());
    try {
      const picture = await api.why(this.query.ask, this.hit.id, asking.signal);
      if (!asking.signal.aborted) this.heat = URL.createObjectURL(picture);
    } catch (problem) {
      if (!asking.signal.aborted) this.problem = problem;
    } finally {
      if (this.asking === asking) this.asking = null;
    }
  }
}

const shape = ({ target }) => {
  const { naturalWidth: width, naturalHeight: height } = target;
  if (width && height) target.parentElement.style.setProperty('--ratio', width / height);
};

const figure = ({ src, name, box, ratio }, label) => html`<figure>
  <div class="shot" .style=${`--ratio:${ratio ?? 1}`}><img src=${src} alt=${name} @load=${shape}>${box ? boxRect(box) : nothing}</div>
  ${label ? html`<figcaption><b>${label}</b> ${name}</figcaption>` : nothing}</figure>`;

async function loaded(src) {
  const image = new Image();
  image.src = src;
  await image.decode();
  return image;
}

/** Left, top, width and height in pixels of a box of a picture, or of all of it. */
function place({ naturalWidth: width, naturalHeight: height }, box) {
  const [left, top, right, bottom] = box ?? [0, 0, 1, 1];
  return [left * width, top * height, (right - left) * width, (bottom - top) * height];
}

customElements.define('hg-compare', Compare);
