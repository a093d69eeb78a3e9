// What the server does in the background: what is added, watched and computed; adding a folder, and stopping.

import { LitElement, html, nothing } from '../vendor/lit.js';
import * as api from './api.js';
import { icon } from './icons.js';
import { problemText } from './telling.js';
import { count, date, t } from './texts.js';

export class Activity extends LitElement {
  static properties = {
    session: { attribute: false },
    jobs: { attribute: false },
    parts: { state: true },
    problem: { state: true },
    revision: { type: Number },
    language: {},
  };

  constructor() {
    super();
    this.parts = false;
  }

  createRenderRoot() {
    return this;
  }

  connectedCallback() {
    super.connectedCallback();
    this.jobs.watched = true;
    this.jobs.ask();
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    this.jobs.watched = false;
  }

  render() {
    const { list, away } = this.jobs;
    return html`<main id="main" tabindex="-1" class="leafing plain">
      <div class="viewhead"><h1 class="title">${t('view.activity')}</h1></div>
      ${away ? html`<div class="problem" role="alert">${icon('warning')}<p>${t('activity.away')}</p></div>` : nothing}
      ${this.problem ? html`<p class="error" role="alert">${problemText(this.problem)}</p>` : nothing}
      ${this.#folders()}
      <section aria-labelledby="jobs-title"><h2 id="jobs-title">${t('activity.jobs')}</h2>
        ${list === null ? html`<p class="hint">${t('loading')}</p>` : nothing}
        ${list && !list.length ? html`<p class="hint">${t('activity.none')}</p>` : nothing}
        <ul class="jobs" role="list">${(list ?? []).map((job) => this.#job(job))}</ul></section>
    </main>`;
  }

  #folders() {
    const { writable, features = {}, items_with_parts: parts } = this.session.library;
    const folders = features.folders ?? [];
    if (!writable || !folders.length) return html`<p class="hint">${t(writable ? 'activity.nofolders' : 'activity.readonly')}</p>`;
    return html`<section aria-labelledby="folders-title"><h2 id="folders-title">${t('activity.add')}</h2>
      <p class="hint">${t('activity.add.hint')}</p>
      <div class="folders">${folders.map((name) => html`<button type="button" @click=${() => this.#add(name)}>${icon('folder')}${name}</button>`)}</div>
      <label class="switch"><input type="checkbox" role="switch" .checked=${this.parts || parts > 0} @change=${(event) => (this.parts = event.target.checked)}>
        <span>${t('activity.parts')}</span></label></section>`;
  }

  #job(job) {
    const { id, kind, folder, state, done, total, added, failed, text } = job;
    const title = t(`job.${kind}`, { folder: folder ?? '' });
    const share = total > 0 ? Math.min(1, done / total) : null;
    const counts = kind === 'add' || kind === 'watch' || state === 'running';
    const facts = [
      !counts ? '' : total ? t('job.of', { done, total }) : done ? t('job.done', { n: done }) : '',
      added ? t('job.added', { n: added }) : '',
      failed ? t('job.failed', { n: failed }) : '',
    ].filter(Boolean);
    const open = state === 'running' || state === 'waiting';
    return html`<li class="job ${state}">
      <div><b>${title}</b><span class="state">${t(`state.${state}`)}</span></div>
      ${state === 'running' && kind !== 'watch' ? html`<progress max="1" value=${share ?? nothing} aria-label=${title}></progress>` : nothing}
      <p class="hint">${facts.join(' · ')}${facts.length && text ? ' · ' : ''}${text ?? ''}</p>
      <p class="hint">${when(job)}</p>
      ${open && kind === 'add' && this.session.library.writable
        ? html`<button type="button" @click=${() => this.#stop(id)} aria-label=${t('job.stop.label', { name: title })}>${t('job.stop')}</button>` : nothing}</li>`;
  }

  #add(folder) {
    return this.#change(() => api.addFolder(folder, this.parts || this.session.library.items_with_parts > 0));
  }

  #stop(id) {
    return this.#change(() => api.stopJob(id));
  }

  async #change(act) {
    this.problem = null;
    try {
      await act();
    } catch (problem) {
      if (!(problem instanceof api.Problem)) throw problem;
      this.problem = problem;
    }
    await this.jobs.ask();
  }
}

/** When a job began, and how long it took. */
function when({ started, ended }) {
  if (!started) return '';
  const seconds = ended ? Math.max(0, Math.round((new Date(ended) - new Date(started)) / 1000)) : null;
  return seconds === null ? date(started) : `${date(started)} · ${t('job.seconds', { n: count(seconds) })}`;
}

customElements.define('hg-activity', Activity);
