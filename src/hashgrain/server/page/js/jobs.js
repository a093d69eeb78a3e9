// What the server does in the background, asked for now and then: often while something runs, seldom otherwise, and not
// at all where nothing can run that the page does not see begin.

import * as api from './api.js';

const OFTEN = 1000; // milliseconds
const SELDOM = 20_000;
const AWAY = [1000, 2000, 4000, 8000]; // while the server does not answer

const OPEN = new Set(['running', 'waiting']);

/** Events: `change`; `added` when a job has changed the library; `back` when a server that was away answers again. */
export class Jobs extends EventTarget {
  constructor(session) {
    super();
    this.session = session;
    this.list = null; // newest first; null before the first answer
    this.away = 0; // how often it did not answer, one after the other
    this.watched = false; // whether someone looks at the list
    document.addEventListener('visibilitychange', () => !document.hidden && this.#needed && this.ask());
    addEventListener('making', () => this.ask());
    this.#later(SELDOM / 10);
  }

  get #needed() {
    const { writable, features } = this.session.library;
    return Boolean(this.watched || this.running || this.away || (writable && features?.folders?.length));
  }

  get running() {
    return (this.list ?? []).filter(({ state }) => OPEN.has(state)).length;
  }

  /** Ask now, and then in turn. */
  async ask() {
    clearTimeout(this.timer);
    if (this.asking) return this.asking;
    this.asking = this.#ask().finally(() => (this.asking = null));
    return this.asking;
  }

  async #ask() {
    try {
      const { jobs } = await api.jobs(AbortSignal.timeout(15_000));
      const before = new Map((this.list ?? []).map((job) => [job.id, job]));
      this.list = jobs;
      const back = this.away > 0;
      this.away = 0;
      if (back) this.dispatchEvent(new Event('back'));
      else if (jobs.some((job) => gained(job, before.get(job.id)))) this.dispatchEvent(new Event('added'));
    } catch (problem) {
      if (problem instanceof api.Problem && problem.status && problem.status < 500) {
        this.list ??= [];
      } else this.away += 1;
    }
    this.dispatchEvent(new Event('change'));
    const busy = this.running || this.watched;
    this.#later(this.away ? AWAY[Math.min(this.away, AWAY.length) - 1] : busy ? OFTEN : SELDOM);
  }

  #later(milliseconds) {
    clearTimeout(this.timer);
    if (this.#needed) this.timer = setTimeout(() => (document.hidden ? this.#later(SELDOM) : this.ask()), milliseconds);
  }
}

/** Whether a job has put pictures into the library since it was seen before. Of one that adds, only the end counts. */
function gained({ kind, state, added }, before) {
  if (!before || !added) return false;
  return kind === 'watch' ? added !== before.added : kind === 'add' && OPEN.has(before.state) && !OPEN.has(state);
}
