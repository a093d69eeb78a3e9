// A map of the library: pictures that look alike stand near one another. A line around some takes them.

import { LitElement, html, nothing, svg } from '../vendor/lit.js';
import * as api from './api.js';
import { EMPTY, writeAddress } from './address.js';
import { icon } from './icons.js';
import { loadMap, simplified } from './map-data.js';
import { Points } from './map-gl.js';
import { Labels } from './map-labels.js';
import { View, ZOOM, gestures, keyed } from './map-view.js';
import { makingBar, problemBox } from './results.js';
import { colorsOf } from './map-colors.js';
import { MOST_WITHIN } from './sources.js';
import { groupName } from './telling.js';
import { t } from './texts.js';

const REACH = 14; // pixels from a point that still mean it
const CORNERS = 48; // of an area
const WAIT = 90; // milliseconds over a point before its picture is shown
const PEEK = 176; // pixels
const REST = 300; // milliseconds after a movement until more is drawn
const STANDING = 1500; // milliseconds between two frames of a map that does not move

export class MapOfLibrary extends LitElement {
  static properties = {
    session: { attribute: false },
    data: { state: true },
    share: { state: true },
    problem: { state: true },
    plain: { state: true }, // whether there is no WebGL2
    lassoing: { state: true },
    peeked: { state: true }, // the point whose picture is shown
    revision: { type: Number },
    language: {},
  };

  constructor() {
    super();
    this.view = new View();
    this.peeked = -1;
    this.framed = -Infinity; // when the last frame of a movement was drawn
  }

  createRenderRoot() {
    return this;
  }

  connectedCallback() {
    super.connectedCallback();
    this.asking = new AbortController();
    this.sizes = new ResizeObserver(() => this.#resized());
    this.escape = (event) => {
      if (event.key === 'Escape' && !event.defaultPrevented && !document.querySelector('dialog[open]')) this.#drop();
    };
    addEventListener('keydown', this.escape);
    this.#load();
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    removeEventListener('keydown', this.escape);
    this.asking.abort();
    this.sizes.disconnect();
    cancelAnimationFrame(this.frame);
    clearTimeout(this.resting);
  }

  async #load() {
    this.problem = null;
    try {
      this.data = await loadMap(this.asking.signal, (share) => (this.share = share));
    } catch (problem) {
      if (!this.asking.signal.aborted) this.problem = problem;
    }
  }

  updated(changed) {
    const place = this.querySelector('.mapbox');
    if (this.data && place && !this.points && !this.plain) this.#begin(place);
    const { area } = this.session.state;
    if (this.points && (changed.has('data') || area !== this.drawn)) this.#taken(area);
    this.colors = null; // the colors of the page may be others now
    this.#redraw();
  }

  #begin(place) {
    try {
      this.points = new Points(place.querySelector('canvas'));
    } catch {
      this.plain = true;
      return;
    }
    this.points.restored = () => this.#redraw();
    this.points.load(this.data, null);
    this.labels = new Labels(place.querySelector('.labels'));
    place.querySelector('.labels').addEventListener('click', (event) => event.preventDefault()); // what was clicked is said by `clicked`
    this.sizes.observe(place);
    gestures(place, this.view, {
      lassoing: () => this.lassoing,
      moved: () => this.#moved(),
      drew: (line, done) => this.#drew(line, done),
      clicked: (left, top, target) => this.#clicked(left, top, target),
      hovered: (left, top) => this.#hovered(left, top),
    });
  }

  #resized() {
    const place = this.querySelector('.mapbox');
    if (!place) return;
    [this.view.width, this.view.height] = [place.clientWidth, place.clientHeight];
    this.#redraw();
  }

  /** The points of an area stand out from the others. */
  #taken(area) {
    this.drawn = area;
    const inside = area && this.data.inside(area);
    if (this.points.data === this.data) this.points.mark(inside?.map((each) => 1 - each) ?? null);
    else this.points.load(this.data, inside?.map((each) => 1 - each) ?? null);
  }

  #moved() {
    this.moving = true;
    clearTimeout(this.resting);
    this.resting = setTimeout(() => this.#redraw(), REST);
    this.peeked = -1;
    this.#redraw();
  }

  #redraw() {
    if (!this.points || this.frame) return;
    this.frame = requestAnimationFrame((began) => {
      this.frame = null;
      const took = began - this.framed;
      if (this.moving && took < STANDING) this.points.learn(took);
      this.framed = this.moving ? began : -Infinity;
      this.#draw(this.moving);
      this.moving = false;
    });
  }

  #draw(moving) {
    const place = this.querySelector('.mapbox');
    if (!place || place.clientWidth < 2) return;
    const { view } = this;
    if (view.width !== place.clientWidth) [view.width, view.height] = [place.clientWidth, place.clientHeight];
    this.colors ??= colorsOf(this);
    this.shown = this.points.draw(viewOf(view), this.colors, Math.min(2, devicePixelRatio), moving);
    this.labels.draw(view, this.data);
    const { area } = this.session.state;
    const corners = this.line ?? (area && pairs(area).map(([x, y]) => view.toPixels(x, y)));
    this.querySelector('.lasso polygon')?.setAttribute('points', (corners ?? []).map((each) => each.join(',')).join(' '));
  }

  render() {
    const { session, problem } = this;
    const { area } = session.state;
    if (problem && !this.data) {
      return html`<main id="main" tabindex="-1" class="leafing">${problemBox(problem, html`<button type="button" @click=${() => this.#load()}>${t('problem.retry')}</button>`)}</main>`;
    }
    if (!this.data) return html`<main id="main" tabindex="-1" class="leafing"><h1 class="title">${t('view.map')}</h1>${makingBar(this.share ?? 0, t('making'))}</main>`;
    if (this.plain) return this.#list();
    return html`<main id="main" tabindex="-1" class="mapping ${area ? 'taken' : ''}">
      <section class="mapside" aria-label=${t('view.map')}>
        ${area ? html`<h2 class="unseen">${t('view.map')}</h2>` : html`<h1 class="unseen">${t('view.map')}</h1>`}
        <div class="mapbox ${this.lassoing ? 'drawing' : ''}" tabindex="0" role="application" aria-label=${t('map.label', { n: this.data.count })} aria-describedby="map-keys" @keydown=${this.#key}>
          <canvas></canvas><div class="labels"></div>
          <svg class="lasso" aria-hidden="true">${svg`<polygon></polygon>`}</svg><i class="cross"></i>
          ${this.#peek()}
        </div>
        ${this.#tools()}
        <p id="map-keys" class="unseen">${t('map.keys')}</p>
      </section>
      ${area ? html`<div class="takenside">
          <p class="acts"><button type="button" @click=${() => session.go({ ...EMPTY, area })}>${icon('search')}${t('map.search')}</button>
            <button type="button" class="quiet" @click=${() => this.#drop()}>${t('map.drop')}</button></p>
          ${session.results?.ids?.length > MOST_WITHIN ? html`<p class="hint">${t('area.most', { n: MOST_WITHIN })}</p>` : nothing}
          <hg-results .session=${session} .level=${1} .heading=${t('map.taken')} .choosing=${session.library.writable} .revision=${this.revision} .language=${this.language}></hg-results></div>`
        : nothing}
    </main>`;
  }

  #tools() {
    const tool = (label, drawing, act, pressed) => html`<button type="button" class="round" aria-label=${label} title=${label}
      aria-pressed=${pressed === undefined ? nothing : String(pressed)} @click=${act}>${icon(drawing)}</button>`;
    return html`<div class="maptools" role="group" aria-label=${t('map.tools')}>
      ${tool(t('map.lasso'), 'lasso', () => (this.lassoing = !this.lassoing), Boolean(this.lassoing))}
      ${tool(t('map.view'), 'check', () => this.#take(corners(this.view.box)))}
      ${tool(t('map.in'), 'plus', () => this.#zoom(ZOOM))}${tool(t('map.out'), 'minus', () => this.#zoom(1 / ZOOM))}
      ${tool(t('map.whole'), 'fit', () => { this.view.whole(); this.#redraw(); })}</div>`;
  }

  #peek() {
    if (this.peeked < 0) return nothing;
    const { data, view, peeked } = this;
    const [x, y] = view.toPixels(data.places[2 * peeked], data.places[2 * peeked + 1]);
    const kind = data.names.get(data.kindOf[peeked]);
    const left = Math.min(Math.max(0, x - PEEK / 2), Math.max(0, view.width - PEEK));
    const top = y > PEEK + 40 ? y - PEEK - 40 : y + 16;
    return html`<div class="peek" .style=${`transform:translate(${left}px,${top}px);width:${PEEK}px`}>
      <img src=${api.thumbnail(data.ids[peeked], PEEK)} alt=""><p role="status">${kind ? groupName(kind) : t('detail.picture', { id: data.ids[peeked] })}</p></div>`;
  }

  /** In place of the map, where it cannot be drawn. */
  #list() {
    return html`<main id="main" tabindex="-1" class="leafing plain"><h1 class="title">${t('view.map')}</h1><p class="notice">${t('map.plain')}</p>
      <ul class="kinds" role="list">${this.data.kinds.map((kind) => html`<li><a href=${writeAddress({ ...EMPTY, view: 'browse', inside: String(kind.id) })}
        @click=${(event) => { event.preventDefault(); this.#browse(kind.id); }}>${groupName(kind)}</a>
        <span class="hint">${t('library.pictures', { n: kind.count })}</span></li>`)}</ul></main>`;
  }

  #browse(id) {
    this.session.go({ ...EMPTY, view: 'browse', inside: String(id) });
  }

  #zoom(times) {
    this.view.zoom(times);
    this.#moved();
  }

  #at(left, top, reach = REACH) {
    return this.data.nearest(...this.view.toPlace(left, top), reach / this.view.scale);
  }

  #hovered(left, top) {
    clearTimeout(this.waiting);
    const point = left === null ? -1 : this.#at(left, top);
    if (point < 0) this.peeked = -1;
    else if (point !== this.peeked) this.waiting = setTimeout(() => (this.peeked = point), this.peeked < 0 ? WAIT : 20);
  }

  #clicked(left, top, target) {
    const kind = target.closest?.('.labels a')?.dataset.kind;
    const point = kind ? -1 : this.#at(left, top);
    if (kind) this.#browse(kind);
    else if (point >= 0) this.session.open(this.data.ids[point]);
  }

  #drew(line, done) {
    this.line = done ? null : line;
    if (done && line) {
      const drawn = simplified(line, CORNERS);
      if (drawn.length > 2) this.#take(drawn.flatMap(([left, top]) => this.view.toPlace(left, top)));
    }
    this.#redraw();
  }

  #take(area) {
    this.lassoing = false;
    const rounded = area.map((each) => Math.round(Math.min(4, Math.max(-4, each)) * 1e4) / 1e4);
    this.session.go({ area: rounded, sort: 'score' });
  }

  #drop() {
    if (this.session.state.area) this.session.go({ area: null });
  }

  #key(event) {
    if (event.target.closest('a')) return;
    if (event.key === 'Enter' && this.peeked >= 0) this.session.open(this.data.ids[this.peeked]);
    else if (keyed(event, this.view)) {
      this.#moved();
      const point = this.#at(this.view.width / 2, this.view.height / 2, 5 * REACH);
      clearTimeout(this.waiting);
      this.waiting = setTimeout(() => (this.peeked = point), WAIT);
    } else return;
    event.preventDefault();
  }
}

const viewOf = ({ x, y, scale, width, height, box }) => ({ x, y, scale, width, height, box });

const pairs = (area) => Array.from({ length: area.length / 2 }, (_, i) => [area[2 * i], area[2 * i + 1]]);

const corners = ([left, low, right, high]) => [left, low, right, low, right, high, left, high];

customElements.define('hg-map', MapOfLibrary);
