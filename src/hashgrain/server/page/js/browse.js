// The library as a tree: kinds that hold things, each with a picture that stands for it; one that is opened shows its pictures.

import { LitElement, html, nothing } from '../vendor/lit.js';
import * as api from './api.js';
import { writeAddress, EMPTY } from './address.js';
import { icon } from './icons.js';
import './results.js';
import { makingBar, problemBox } from './results.js';
import { groupName } from './telling.js';
import { count, t } from './texts.js';

const AT_ONCE = 120; // kinds shown before one asks for more
const THINGS = 3; // pictures of things on a tile

export class Browse extends LitElement {
  static properties = {
    session: { attribute: false },
    tree: { state: true },
    share: { state: true },
    problem: { state: true },
    looked: { state: true }, // what is typed to find a kind
    most: { state: true },
    unrolled: { state: true }, // ids of kinds whose things are listed
    revision: { type: Number },
    language: {},
  };

  constructor() {
    super();
    this.looked = '';
    this.most = AT_ONCE;
    this.unrolled = new Set();
  }

  createRenderRoot() {
    return this;
  }

  connectedCallback() {
    super.connectedCallback();
    this.asking = new AbortController();
    this.#load();
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    this.asking.abort();
  }

  willUpdate() {
    if (this.tree && this.known !== this.session.revised) this.#load(); // the library has changed
    const { inside } = this.session.state;
    if (inside !== this.before) {
      this.before = inside;
      if (inside) this.unrolled = new Set([...this.unrolled, inside.split('.')[0]]);
    }
  }

  async #load() {
    this.known = this.session.revised;
    this.problem = null;
    try {
      this.tree = await api.scenes(this.asking.signal, (share) => (this.share = share));
    } catch (problem) {
      if (!this.asking.signal.aborted) this.problem = problem;
    }
  }

  render() {
    const { inside } = this.session.state;
    if (this.problem && !this.tree) {
      return html`<main id="main" tabindex="-1" class="leafing">${problemBox(this.problem, html`<button type="button" @click=${() => this.#load()}>${t('problem.retry')}</button>`)}</main>`;
    }
    if (!this.tree) {
      return html`<main id="main" tabindex="-1" class="leafing"><h1 class="title">${t('view.browse')}</h1>${makingBar(this.share ?? 0, t('making'))}
        <div class="skeleton" aria-hidden="true">${Array.from({ length: 12 }, () => html`<i></i>`)}</div></main>`;
    }
    return inside ? this.#opened(inside) : this.#all();
  }

  #found() {
    const looked = this.looked.trim().toLocaleLowerCase();
    if (!looked) return this.tree.kinds;
    const has = ({ name, names = [] }) => [name ?? '', ...names].some((each) => each.toLocaleLowerCase().includes(looked));
    return this.tree.kinds.filter((kind) => has(kind) || kind.things.some(has));
  }

  #head(kinds) {
    const named = this.tree.kinds.some(({ name }) => name);
    return html`<div class="viewhead"><h1 class="title">${t('view.browse')}</h1>
      <p class="count" role="status">${t('browse.kinds', { n: this.looked.trim() ? kinds.length : (this.tree.total?.kinds ?? kinds.length) })}</p>
      ${named ? html`<input type="search" class="lookup" placeholder=${t('browse.find')} aria-label=${t('browse.find')} .value=${this.looked} @input=${(event) => (this.looked = event.target.value)}>` : nothing}
    </div>`;
  }

  #all() {
    const kinds = this.#found();
    return html`<main id="main" tabindex="-1" class="leafing">${this.#head(kinds)}
      ${kinds.length ? nothing : html`<p class="empty">${t(this.tree.kinds.length ? 'browse.none' : 'empty.library')}</p>`}
      <ul class="tiles" role="list" @keydown=${this.#key}>${kinds.slice(0, this.most).map((kind) => this.#tile(kind))}</ul>
      ${kinds.length > this.most ? html`<p class="more"><button type="button" @click=${() => (this.most += AT_ONCE)}>${t('browse.more')}</button></p>` : nothing}
    </main>`;
  }

  #tile(kind) {
    const things = kind.things.filter(({ item }) => item !== kind.item).slice(0, THINGS);
    return html`<li class="tile"><a href=${this.#address(kind.id)} @click=${(event) => this.#open(event, kind.id)}>
      <img class="large" src=${api.thumbnail(kind.item, 480)} alt="" loading="lazy" decoding="async">
      ${things.length ? html`<span class="small">${things.map(({ item }) => html`<img src=${api.thumbnail(item, 200)} alt="" loading="lazy" decoding="async">`)}</span>` : nothing}
      <b>${groupName(kind)}</b><span class="count">${t('library.pictures', { n: kind.count })}${kind.things.length > 1 ? ` · ${t('browse.things', { n: kind.things.length })}` : ''}</span></a></li>`;
  }

  #opened(inside) {
    const kind = this.tree.kinds.find(({ id }) => String(id) === inside.split('.')[0]);
    const thing = kind?.things.find(({ id }) => String(id) === inside);
    const heading = thing ? `${kind ? groupName(kind) : ''} › ${groupName(thing)}` : groupName(kind ?? { id: inside });
    return html`<main id="main" tabindex="-1" class="asking browsing">
      <nav class="side tree" aria-label=${t('view.browse')} @keydown=${this.#key}>
        <a class="up" href="?view=browse" @click=${(event) => this.#open(event, null)}>${icon('left')}${t('browse.all')}</a>
        <ul role="list">${this.#near(kind).map((each) => this.#branch(each, inside))}</ul></nav>
      <hg-results .session=${this.session} .level=${1} .heading=${heading} .choosing=${this.session.library.writable}
        .revision=${this.revision} .language=${this.language}></hg-results></main>`;
  }

  /** The kinds that are listed beside the pictures: the first ones, and the one that is open. */
  #near(kind) {
    const some = this.tree.kinds.slice(0, this.most);
    return kind && !some.includes(kind) ? [kind, ...some] : some;
  }

  #branch(kind, inside) {
    const id = String(kind.id);
    const things = kind.things.filter((thing) => thing.count > 1 || String(thing.id) === inside);
    const open = this.unrolled.has(id);
    const name = groupName(kind);
    return html`<li>${things.length
      ? html`<button type="button" class="round turn" aria-expanded=${String(open)} aria-label=${t('browse.unroll', { name })} @click=${() => this.#unroll(id)}>${icon(open ? 'down' : 'right')}</button>`
      : html`<span class="turn"></span>`}
      ${this.#twig(kind, name, inside)}
      ${open && things.length ? html`<ul role="list">${things.map((thing) => html`<li>${this.#twig(thing, groupName(thing), inside)}</li>`)}</ul>` : nothing}</li>`;
  }

  #twig({ id, item, count: n }, name, inside) {
    return html`<a href=${this.#address(id)} aria-current=${String(id) === inside ? 'true' : nothing} @click=${(event) => this.#open(event, id)}>
      <img src=${api.thumbnail(item, 100)} alt="" loading="lazy" decoding="async"><span>${name}</span><small>${count(n)}</small></a>`;
  }

  #unroll(id) {
    this.unrolled = new Set(this.unrolled);
    if (!this.unrolled.delete(id)) this.unrolled.add(id);
  }

  #address(id) {
    return writeAddress({ ...EMPTY, view: 'browse', inside: String(id) });
  }

  #open(event, id) {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    this.session.go({ ...EMPTY, view: 'browse', inside: id === null ? null : String(id) });
  }

  /** Arrow keys go between tiles or branches; left and right close and open a branch. */
  #key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const links = [...event.currentTarget.querySelectorAll('a')];
    const link = event.target.closest('li')?.querySelector('a');
    const at = links.indexOf(link);
    if (at < 0) return;
    const tiles = event.currentTarget.matches('.tiles');
    const across = tiles ? links.filter((each) => each.offsetTop === links[0].offsetTop).length : 1;
    const steps = { ArrowDown: across, ArrowUp: -across, ...(tiles ? { ArrowRight: 1, ArrowLeft: -1 } : {}), Home: -at, End: links.length - 1 - at };
    const turn = !tiles && { ArrowRight: 'false', ArrowLeft: 'true' }[event.key];
    if (turn) event.target.closest('li').querySelector(`:scope > .turn[aria-expanded="${turn}"]`)?.click();
    else if (event.key in steps) links[Math.min(links.length - 1, Math.max(0, at + steps[event.key]))].focus();
    else return;
    event.preventDefault();
  }
}

customElements.define('hg-browse', Browse);
