// What a person chooses once: language, colors, size of pictures, the grain one starts with. Kept by the browser.

import { LitElement, html } from '../vendor/lit.js';
import { keysOn, turnKeys } from './keys.js';
import { SIZES, forgetAll, preference, setPreference, size } from './prefs.js';
import { grainText } from './telling.js';
import { LANGUAGES, preferred, speak, spoken, t } from './texts.js';
import { THEMES, showTheme, theme } from './theme.js';

/** Fires `redraw` when the page is to be drawn anew. */
export class Settings extends LitElement {
  static properties = { session: { attribute: false }, told: { state: true }, revision: { type: Number }, language: {} };

  createRenderRoot() {
    return this;
  }

  render() {
    const { grains, default_grain: usual } = this.session.library;
    const grain = grains.some(({ name }) => name === preference('grain')) ? preference('grain') : '';
    return html`<main id="main" tabindex="-1" class="leafing plain settings">
      <div class="viewhead"><h1 class="title">${t('view.settings')}</h1></div>
      <p class="hint">${t('settings.about')}</p>
      <label class="choice">${t('settings.language')}
        <select @change=${(event) => this.#speak(event.target.value)}>${Object.entries(LANGUAGES).map(
          ([name, own]) => html`<option value=${name} lang=${name === 'zh' ? 'zh-CN' : name} ?selected=${name === spoken()}>${own}</option>`)}</select></label>
      ${this.#radios('theme', THEMES, theme(), (name) => showTheme(name))}
      ${this.#radios('size', Object.keys(SIZES), size(), (name) => setPreference('size', name === 'medium' ? null : name))}
      <label class="choice">${t('settings.grain')}
        <select @change=${(event) => this.#grain(event.target.value)}>
          <option value="" ?selected=${!grain}>${t('settings.grain.usual', { name: grainText(usual) })}</option>
          ${grains.map(({ name }) => html`<option value=${name} ?selected=${name === grain}>${grainText(name)}</option>`)}</select></label>
      <label class="switch"><input type="checkbox" role="switch" .checked=${keysOn()} @change=${(event) => turnKeys(event.target.checked)}><span>${t('help.single')}</span></label>
      <p class="acts"><button type="button" @click=${this.#reset}>${t('settings.reset')}</button><span role="status" class="hint">${this.told ? t('settings.done') : ''}</span></p>
    </main>`;
  }

  #radios(name, values, chosen, choose) {
    return html`<fieldset class="dial"><legend>${t(`settings.${name}`)}</legend><div class="track">${values.map(
      (value) => html`<label><input type="radio" name=${name} value=${value} .checked=${value === chosen}
        @change=${() => { choose(value); this.#redraw(); }}><span>${t(`settings.${name}.${value}`)}</span></label>`)}</div></fieldset>`;
  }

  async #speak(name) {
    await speak(name, { keep: true });
    this.#redraw();
  }

  #grain(name) {
    setPreference('grain', name || null);
    this.session.forget();
  }

  async #reset() {
    forgetAll();
    showTheme();
    await speak(preferred());
    this.session.forget();
    this.told = true;
    this.#redraw();
  }

  #redraw() {
    this.dispatchEvent(new Event('redraw'));
  }
}

customElements.define('hg-settings', Settings);
