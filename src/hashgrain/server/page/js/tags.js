// Tags: of one picture or of several, given and taken off; and as chips that narrow the list.

import { LitElement, html, nothing } from '../vendor/lit.js';
import * as api from './api.js';
import { TAG } from './changes.js';
import { clauseOf, hasClause, toggled } from './clauses.js';
import { icon } from './icons.js';
import { count, t } from './texts.js';

const MOST = 200; // tags asked for
const FIRST = 12; // of them shown at once

const known = new WeakMap(); // session -> {revised, key, tags}

/** The tags of a library, most frequent first; asked for once for each state of it. */
export async function tagsIn(session, key = TAG) {
  const before = known.get(session);
  if (before && before.revised === session.revised && before.key === key) return before.tags;
  const tags = session.library.fields.includes(key)
    ? api.tags(key, MOST).then((answer) => answer.tags, () => [])
    : Promise.resolve([]);
  known.set(session, { revised: session.revised, key, tags });
  return tags;
}

/** Tags that can be taken off, and a field to give more. Fires `add` and `remove` with a name. */
export class TagEditor extends LitElement {
  static properties = {
    session: { attribute: false },
    names: { attribute: false }, // [{name, count}]; a count is shown if it is not undefined
    label: {},
    suggestions: { state: true },
    revision: { type: Number },
    language: {},
  };

  constructor() {
    super();
    this.names = [];
    this.suggestions = [];
  }

  createRenderRoot() {
    return this;
  }

  willUpdate() {
    if (!this.session.library.writable) return;
    tagsIn(this.session).then((tags) => {
      if (tags !== this.suggestions) this.suggestions = tags;
    });
  }

  render() {
    const { writable } = this.session.library;
    if (!writable && !this.names.length) return nothing;
    const here = new Set(this.names.filter((each) => each.count === undefined).map(({ name }) => name));
    return html`<div class="tags" role="group" aria-label=${t('tags.title')}>
      ${this.names.length
        ? html`<ul role="list">${this.names.map(({ name, count: n }) => html`<li class="tagged">${name}${n === undefined ? nothing : html`<small>${count(n)}</small>`}
            ${writable ? html`<button type="button" aria-label=${t('tags.remove', { name })} title=${t('tags.remove', { name })} @click=${() => this.#fire('remove', name)}>${icon('close')}</button>` : nothing}</li>`)}</ul>`
        : nothing}
      ${writable
        ? html`<form @submit=${this.#add}><input name="tag" list="tags-known" maxlength="100" autocomplete="off" placeholder=${t('tags.add')} aria-label=${this.label}>
            <datalist id="tags-known">${this.suggestions.filter(({ name }) => !here.has(name)).map(({ name }) => html`<option value=${name}></option>`)}</datalist>
            <button type="submit" class="quiet" aria-label=${this.label} title=${this.label}>${icon('plus')}</button></form>`
        : nothing}
    </div>`;
  }

  #add(event) {
    event.preventDefault();
    const field = event.target.elements.tag;
    const name = field.value.trim();
    if (name) this.#fire('add', name);
    field.value = '';
    field.focus();
  }

  #fire(act, name) {
    this.dispatchEvent(new CustomEvent(act, { detail: name }));
    if (act === 'remove') this.querySelector('input').focus();
  }
}

/** The tags of the library as chips: one that is pressed is a part of the filter. */
export class Facets extends LitElement {
  static properties = { session: { attribute: false }, tags: { state: true }, whole: { state: true }, revision: { type: Number }, language: {} };

  createRenderRoot() {
    return this;
  }

  willUpdate() {
    tagsIn(this.session).then((tags) => {
      if (tags !== this.tags) this.tags = tags;
    });
  }

  render() {
    const { where } = this.session.state;
    if (!this.tags?.length) return nothing;
    const shown = this.tags.filter(({ name }, i) => this.whole || i < FIRST || hasClause(where, clauseOf(TAG, name)));
    return html`<section class="facets" aria-label=${t('tags.title')}><h2>${t('tags.title')}</h2>
      <p>${shown.map(({ name, count: n }) => {
        const pressed = hasClause(where, clauseOf(TAG, name));
        return html`<button type="button" class="chip" aria-pressed=${String(pressed)} @click=${() => this.session.go({ where: toggled(where, clauseOf(TAG, name)) })}>
          ${name}<small>${count(n)}</small></button>`;
      })}
      ${this.tags.length > FIRST ? html`<button type="button" class="chip quiet" aria-expanded=${String(Boolean(this.whole))} @click=${() => (this.whole = !this.whole)}>
        ${t(this.whole ? 'tags.fewer' : 'tags.more')}</button>` : nothing}</p></section>`;
  }
}

customElements.define('hg-tags', TagEditor);
customElements.define('hg-facets', Facets);
