// What can be done with the pictures that are selected, and what was done last.

import { LitElement, html, nothing } from '../vendor/lit.js';
import { tag, tagsOf, takeBack, takeOut } from './changes.js';
import { icon } from './icons.js';
import './tags.js';
import { problemText } from './telling.js';
import { t } from './texts.js';

const READ = 8000; // milliseconds that a notice stays on which nothing depends

export class Selection extends LitElement {
  static properties = { session: { attribute: false }, tagging: { state: true }, revision: { type: Number }, language: {} };

  createRenderRoot() {
    return this;
  }

  render() {
    const { session } = this;
    const ids = [...session.chosen];
    if (!ids.length) this.tagging = false;
    return html`<div class="bars">
      ${ids.length && session.library.writable ? this.#chosen(ids) : nothing}
      ${session.notice ? this.#notice(session.notice) : nothing}</div>`;
  }

  updated() {
    const { notice } = this.session;
    if (notice === this.noticed) return;
    this.noticed = notice;
    clearTimeout(this.reading);
    if (notice && !notice.undo && !notice.problem && !notice.more?.length) this.reading = setTimeout(() => this.session.say(null), READ);
  }

  #chosen(ids) {
    const { session } = this;
    return html`<section class="chosenbar" aria-label=${t('chosen.label')}>
      <p role="status">${t('chosen.count', { n: ids.length })}</p>
      <button type="button" aria-expanded=${String(Boolean(this.tagging))} @click=${() => this.#tag()}>${icon('tag')}${t('chosen.tag')}</button>
      <button type="button" @click=${() => session.go({ ...session.searching, box: null, text: '', like: ids.slice(0, 100), unlike: [], open: null })}>${icon('plus')}${t('chosen.like')}</button>
      <button type="button" @click=${() => takeOut(session, ids)}>${icon('out')}${t('out')}</button>
      <button type="button" class="round" aria-label=${t('chosen.none')} title=${t('chosen.none')} @click=${() => session.choose(null)}>${icon('close')}</button>
      ${this.tagging ? html`<hg-tags .session=${session} .names=${this.#names(ids)} .label=${t('tags.add.chosen', { n: ids.length })} .revision=${this.revision} .language=${this.language}
        @add=${({ detail }) => tag(session, ids, { add: [detail] })} @remove=${({ detail }) => tag(session, ids, { remove: [detail] })}></hg-tags>` : nothing}
    </section>`;
  }

  async #tag() {
    this.tagging = !this.tagging;
    await this.updateComplete;
    await this.querySelector('hg-tags')?.updateComplete;
    this.querySelector('hg-tags input')?.focus();
  }

  /** The tags of the selected pictures that are loaded, with how many have each. */
  #names(ids) {
    const some = new Set(ids);
    const counts = new Map();
    for (const { hit } of this.session.shown.entries) {
      if (some.has(hit.id)) for (const name of tagsOf(hit)) counts.set(name, (counts.get(name) ?? 0) + 1);
    }
    return [...counts].toSorted((one, other) => other[1] - one[1]).map(([name, count]) => ({ name, count }));
  }

  #notice({ text, problem, undo, more }) {
    const { session } = this;
    return html`<div class="noticebar ${problem ? 'wrong' : ''}" role=${problem ? 'alert' : 'status'}>
      <p>${problem ? problemText(problem) : text}${(more ?? []).map((each) => html`<br><small>${each}</small>`)}</p>
      ${undo ? html`<button type="button" class="undo" @click=${() => takeBack(session)}>${icon('undo')}${t('undo')}</button>` : nothing}
      <button type="button" class="round" aria-label=${t('close')} title=${t('close')} @click=${() => session.say(null)}>${icon('close')}</button></div>`;
  }
}

customElements.define('hg-selection', Selection);
