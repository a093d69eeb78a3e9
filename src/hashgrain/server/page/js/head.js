// The head of the page: the library, words and pictures to search with, and the bar of the views.

import { LitElement, html, nothing } from '../vendor/lit.js';
import { VIEWS } from './address.js';
import { icon } from './icons.js';
import { LANGUAGES, speak, spoken, t } from './texts.js';
import { nextTheme, theme } from './theme.js';

const DRAWINGS = { search: 'search', browse: 'browse', duplicates: 'stack', map: 'map', activity: 'activity', settings: 'settings' };

/** Fires `help`, and `redraw` when the language or the colors have changed. */
export class Head extends LitElement {
  static properties = {
    session: { attribute: false },
    running: { type: Number }, // jobs that run
    revision: { type: Number },
    language: {},
  };

  createRenderRoot() {
    return this;
  }

  render() {
    const { library, state } = this.session;
    return html`<header class="head">
      <a class="home" href="./" @click=${this.#home}><b>HashGrain</b><span class="library">${library.name}</span></a>
      <form class="ask" role="search" @submit=${this.#words}>
        ${library.text
          ? html`<span class="glass">${icon('search')}</span><input id="words" name="words" type="search" enterkeyhint="search" autocomplete="off" .value=${state.text}
              placeholder=${t('ask.placeholder')} aria-label=${t('ask.words')}>`
          : html`<span class="nowords">${t('ask.only')}</span>`}
        <label class="pick" title=${t('ask.picture')}><input type="file" accept="image/*" class="unseen" @change=${this.#chosen}>${icon('picture')}<span>${t('ask.picture')}</span></label>
        <label class="pick camera" title=${t('ask.camera')}><input type="file" accept="image/*" capture="environment" class="unseen" @change=${this.#chosen}>${icon('camera')}<span class="unseen">${t('ask.camera')}</span></label>
      </form>
      <div class="tools">
        ${Object.entries(LANGUAGES).filter(([name]) => name !== spoken()).map(
          ([name, own]) => html`<button type="button" class="quiet language" lang=${name === 'zh' ? 'zh-CN' : name} @click=${() => this.#speak(name)}>${own}</button>`)}
        <button type="button" class="round" aria-label=${t(`theme.${theme()}`)} title=${t(`theme.${theme()}`)}
          @click=${() => { nextTheme(); this.#fire('redraw'); this.requestUpdate(); }}>${icon({ auto: 'half', light: 'sun', dark: 'moon' }[theme()])}</button>
        <button type="button" class="round" aria-label=${t('help.title')} title=${t('help.title')} @click=${() => this.#fire('help')}><b aria-hidden="true">?</b></button>
      </div>
      <nav class="views" aria-label=${t('view.label')}><ul role="list">${VIEWS.map((view) => this.#link(view, state))}</ul></nav></header>`;
  }

  #link(view, state) {
    const here = state.view === view;
    const busy = view === 'activity' && this.running > 0;
    const address = view === 'search' ? this.session.searched : `?view=${view}`;
    return html`<li><a href=${address} aria-current=${here ? 'page' : nothing} @click=${(event) => this.#go(event, view)}>
      ${icon(DRAWINGS[view])}<span>${t(`view.${view}`)}</span>
      ${busy ? html`<i class="busy"></i><span class="unseen">${t('activity.running', { n: this.running })}</span>` : nothing}</a></li>`;
  }

  #go(event, view) {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    this.session.view(view);
  }

  #home(event) {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    this.session.home();
  }

  async #speak(name) {
    await speak(name, { keep: true });
    this.#fire('redraw');
    this.requestUpdate();
    await this.updateComplete;
    this.querySelector('.language').focus();
  }

  #words(event) {
    event.preventDefault();
    const text = new FormData(event.target).get('words')?.trim();
    if (text) this.session.searchText(text);
    else if (this.session.state.text) this.session.clear();
  }

  #chosen(event) {
    const [file] = event.target.files;
    if (file) this.session.searchPicture(file, file.name);
    event.target.value = '';
  }

  #fire(name) {
    this.dispatchEvent(new Event(name));
  }
}

customElements.define('hg-head', Head);
