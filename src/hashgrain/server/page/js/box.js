// The picture that is searched with, and a box on it: drawn, moved and resized by pointer, by touch and by keyboard.

import { LitElement, html, nothing } from '../vendor/lit.js';
import { icon } from './icons.js';
import { t, percent } from './texts.js';

const LEAST = 0.02; // of the picture, in each direction
const STEP = 0.01;
const LARGE_STEP = 0.05; // with Ctrl
const STILL = 5; // pixels that a click may shake
const FIRST = [0.25, 0.25, 0.75, 0.75];
const CORNERS = ['nw', 'n', 'ne', 'e', 'se', 's', 'sw', 'w'];
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

const within = (value, low, high) => Math.min(high, Math.max(low, value));

/** The box moved by a share of the picture, kept inside. */
export function moved([left, top, right, bottom], dx, dy) {
  const x = within(dx, -left, 1 - right);
  const y = within(dy, -top, 1 - bottom);
  return [left + x, top + y, right + x, bottom + y];
}

/** The box with the edges that `corner` names moved, kept inside and no smaller than it may be. */
export function resized([left, top, right, bottom], corner, dx, dy) {
  return [
    corner.includes('w') ? within(left + dx, 0, right - LEAST) : left,
    corner.includes('n') ? within(top + dy, 0, bottom - LEAST) : top,
    corner.includes('e') ? within(right + dx, left + LEAST, 1) : right,
    corner.includes('s') ? within(bottom + dy, top + LEAST, 1) : bottom,
  ];
}

/** Fires `box` with {box, done}: done is false while a pointer is down. */
export class BoxEditor extends LitElement {
  static properties = { src: {}, name: {}, ratio: { type: Number }, box: { attribute: false }, failed: { state: true } };

  constructor() {
    super();
    this.box = null;
    this.ratio = 1;
    this.grip = null;
  }

  createRenderRoot() {
    return this;
  }

  willUpdate(changed) {
    if (changed.has('src')) this.failed = false;
  }

  render() {
    const frame = `aspect-ratio:${this.ratio};--ratio:${this.ratio}`;
    return html`
      <div class="boxed" .style=${frame}
        @pointerdown=${this.#down} @pointermove=${this.#move} @pointerup=${this.#up} @pointercancel=${this.#up}>
        ${this.failed
          ? html`<p class="noshow">${t('query.noshow')}</p>`
          : html`<img src=${this.src} alt=${t('query.alt', { name: this.name })} draggable="false"
              @load=${this.#loaded} @error=${() => (this.failed = true)}>`}
        ${this.box ? this.#drawn() : nothing}
      </div>
      <div class="boxbar">
        ${this.box
          ? html`<button type="button" class="quiet" @click=${this.remove}>${icon('close')}${t('box.remove')}</button>
              ${this.#numbers()}`
          : html`<button type="button" class="quiet" data-key="b" @click=${this.begin}>${icon('box')}${t('box.draw')}</button>
              <span class="hint">${t('box.hint')}</span>`}
      </div>`;
  }

  #drawn() {
    const [left, top, right, bottom] = this.box;
    const place = `left:${100 * left}%;top:${100 * top}%;width:${100 * (right - left)}%;height:${100 * (bottom - top)}%`;
    return html`<div class="box" tabindex="0" role="group" aria-roledescription=${t('box.role')} .style=${place}
      aria-label=${t('box.label', this.#told())} aria-describedby="box-keys" @keydown=${this.#key}>
      ${CORNERS.map((corner) => html`<span class="grip ${corner}" data-corner=${corner}></span>`)}
    </div><span id="box-keys" class="unseen">${t('box.keys')}</span>`;
  }

  #told() {
    const [left, top, right, bottom] = this.box;
    return { left: percent(left), top: percent(top), width: percent(right - left), height: percent(bottom - top) };
  }

  #numbers() {
    const [left, top, right, bottom] = this.box;
    const values = { left, top, width: right - left, height: bottom - top };
    return html`<details class="numbers"><summary>${t('box.numbers')}</summary><div>
      ${Object.entries(values).map(
        ([side, value]) => html`<label>${t(`box.${side}`)}
          <input type="number" min="0" max="100" step="1" name=${side} .value=${String(Math.round(100 * value))}
            @change=${(event) => this.#typed(side, event.target)}><span aria-hidden="true">%</span></label>`,
      )}</div></details>`;
  }

  #typed(side, input) {
    const value = within(Number(input.value) / 100 || 0, 0, 1);
    const [left, top, right, bottom] = this.box;
    const boxes = {
      left: () => moved(this.box, value - left, 0),
      top: () => moved(this.box, 0, value - top),
      width: () => resized(this.box, 'e', value - (right - left), 0),
      height: () => resized(this.box, 's', 0, value - (bottom - top)),
    };
    this.#give(boxes[side](), true);
    this.requestUpdate(); // what was typed may be out of range, and then the box is as it was
    input.value = String(Math.round(100 * { left: this.box[0], top: this.box[1], width: this.box[2] - this.box[0], height: this.box[3] - this.box[1] }[side]));
  }

  /** Put a box in the middle, for those who draw without a pointer. */
  async begin() {
    this.#give(this.box ?? FIRST, true);
    await this.updateComplete;
    this.querySelector('.box').focus();
  }

  async remove() {
    this.#give(null, true);
    await this.updateComplete;
    this.querySelector('.boxbar button').focus();
  }

  #loaded(event) {
    const { naturalWidth, naturalHeight } = event.target;
    if (naturalWidth && naturalHeight) this.ratio = naturalWidth / naturalHeight;
  }

  #at(event) {
    const frame = this.querySelector('.boxed').getBoundingClientRect();
    return [(event.clientX - frame.left) / frame.width, (event.clientY - frame.top) / frame.height];
  }

  #down(event) {
    if (event.button !== 0 || this.failed || this.grip) return;
    event.preventDefault();
    const onBox = event.target.closest('.box');
    const corner = event.target.dataset.corner ?? null;
    this.grip = { corner: corner ?? (onBox ? 'move' : 'new'), from: this.#at(event), at: [event.clientX, event.clientY], box: this.box, pointer: event.pointerId };
    event.currentTarget.setPointerCapture(event.pointerId);
    onBox?.focus({ preventScroll: true });
  }

  #move(event) {
    const grip = this.grip;
    if (!grip || event.pointerId !== grip.pointer) return;
    const shaken = Math.hypot(event.clientX - grip.at[0], event.clientY - grip.at[1]);
    if (!grip.moving && shaken < STILL) return;
    grip.moving = true;
    const [x, y] = this.#at(event);
    const [dx, dy] = [x - grip.from[0], y - grip.from[1]];
    if (grip.corner === 'move') this.#give(moved(grip.box, dx, dy), false);
    else if (grip.corner !== 'new') this.#give(resized(grip.box, grip.corner, dx, dy), false);
    else this.#give(spanned(grip.from, [x, y]), false);
  }

  async #up(event) {
    const grip = this.grip;
    if (!grip || event.pointerId !== grip.pointer) return;
    this.grip = null;
    if (!grip.moving) return;
    this.#give(this.box, true);
    await this.updateComplete;
    this.querySelector('.box')?.focus({ preventScroll: true });
  }

  #key(event) {
    const arrow = ARROWS[event.key];
    if (arrow && !event.altKey && !event.metaKey) {
      event.preventDefault();
      event.stopPropagation();
      const step = event.ctrlKey ? LARGE_STEP : STEP;
      const change = arrow.map((each) => each * step);
      this.#give(event.shiftKey ? resized(this.box, 'se', ...change) : moved(this.box, ...change), true);
    } else if (['Delete', 'Backspace', 'Escape'].includes(event.key)) {
      event.preventDefault();
      event.stopPropagation();
      this.remove();
    }
  }

  #give(box, done) {
    this.box = box;
    this.dispatchEvent(new CustomEvent('box', { detail: { box, done }, bubbles: true }));
  }
}

/** The box between two corners, inside the picture, in any order. */
function spanned(from, to) {
  const [x0, y0, x1, y1] = [from[0], from[1], to[0], to[1]].map((each) => within(each, 0, 1));
  const box = [Math.min(x0, x1), Math.min(y0, y1), Math.max(x0, x1), Math.max(y0, y1)];
  if (box[2] - box[0] < LEAST) [box[0], box[2]] = [Math.min(box[0], 1 - LEAST), Math.min(box[0], 1 - LEAST) + LEAST];
  if (box[3] - box[1] < LEAST) [box[1], box[3]] = [Math.min(box[1], 1 - LEAST), Math.min(box[1], 1 - LEAST) + LEAST];
  return box;
}

customElements.define('hg-box', BoxEditor);
