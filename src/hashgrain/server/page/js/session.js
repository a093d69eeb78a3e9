// What the page is doing: the state of the address, the results of its search, and the way between them.

import * as api from './api.js';
import { EMPTY, asks, readAddress, searchBody, writeAddress } from './address.js';
import { Uploads } from './uploads.js';

const PAGE = 100; // hits asked for at once
const GROUPED = 300; // hits that are grouped
const CACHED = 12; // searches whose results are kept for going back
const MOST_AGAIN = 5000; // hits loaded again for a place that a reload keeps

/** Events: `change` whenever there is something new to draw; `place` when the window is to be scrolled. */
export class Session extends EventTarget {
  constructor(library) {
    super();
    this.library = library;
    this.uploads = new Uploads();
    this.state = readAddress(location.search);
    this.results = null; // of the last search that was answered
    this.phase = 'loading'; // loading, more, ready, error
    this.problem = null;
    this.uploading = null; // {name, url} of a picture that is on its way
    this.cached = new Map();
    this.tuned = null; // what is being changed in one go: the address is replaced, not added to
    history.scrollRestoration = 'manual';
    addEventListener('popstate', () => this.#arrive());
    addEventListener('pagehide', () => this.#keepPlace());
    addEventListener('scrollend', () => this.#keepPlace());
  }

  start() {
    return this.#arrive();
  }

  get asking() {
    return asks(this.state);
  }

  get grain() {
    return this.state.grain ?? this.library.default_grain;
  }

  /** Change the state and search. `tune` names a change that goes on, such as a slider being dragged. */
  go(change, { tune = null, replace = false } = {}) {
    const next = { ...this.state, ...change };
    const address = writeAddress(next);
    if (address === writeAddress(this.state) && !this.problem) {
      this.#changed();
      return;
    }
    if (replace || (tune !== null && tune === this.tuned)) {
      history.replaceState({ ...history.state }, '', address);
    } else {
      this.#keepPlace();
      const searchedBefore = keyOf(next) === keyOf(this.state);
      history.pushState({ scroll: searchedBefore ? scrollY : 0, inside: true }, '', address);
    }
    this.tuned = tune;
    const other = queryKey(next) !== queryKey(this.state);
    this.state = next;
    if (other) this.dispatchEvent(new CustomEvent('place', { detail: 0 }));
    this.#run();
  }

  /** The change that was tuned is done: the next one is a step of its own. */
  settle() {
    this.tuned = null;
  }

  searchItem(id) {
    this.go({ ...this.#kept(), item: id });
  }

  searchText(text) {
    this.go({ ...this.#kept(), text: text.trim() });
  }

  clear() {
    this.go({ ...EMPTY, grain: this.state.grain });
  }

  /**
   * Mark a picture as an example (`like`), as a counter-example (`unlike`), or take the mark off. Examples are whole
   * pictures: a box goes, and so do words.
   */
  mark(id, list) {
    if (list === 'unlike' && this.state.text) return;
    const other = list === 'like' ? 'unlike' : 'like';
    const marked = this.state[list].includes(id);
    this.go({
      box: null,
      text: '',
      [list]: marked ? this.state[list].filter((each) => each !== id) : [...this.state[list], id],
      [other]: this.state[other].filter((each) => each !== id),
    });
  }

  open(id) {
    this.go({ open: id }, { replace: this.state.open !== null && id !== null });
  }

  /** Leave the detail view: a step back if it was opened from here, so that the back button does not open it again. */
  close() {
    if (this.state.open === null || this.closing) return;
    this.closing = Boolean(history.state?.inside);
    if (this.closing) history.back();
    else this.go({ open: null }, { replace: true });
  }

  /** Send a picture to the server and search with it. */
  async searchPicture(blob, name = '') {
    this.sending?.abort();
    const sending = (this.sending = new AbortController());
    this.uploading = { name, url: URL.createObjectURL(blob) };
    this.problem = null;
    this.#changed();
    try {
      const sent = await this.uploads.send(blob, name, sending.signal);
      if (sending.signal.aborted) return;
      this.uploading = null;
      this.go({ ...this.#kept(), upload: sent.upload });
    } catch (problem) {
      if (sending.signal.aborted) return;
      this.uploading = null;
      this.#fail(problem, 'upload');
    }
  }

  retry() {
    this.problem = null;
    this.#run();
  }

  dismiss() {
    this.problem = null;
    if (this.phase === 'error') this.phase = 'ready';
    this.#changed();
  }

  /** The next page of hits. */
  async more() {
    const results = this.results;
    if (this.phase !== 'ready' || !results?.next || results.key !== keyOf(this.state)) return;
    this.phase = 'more';
    this.#changed();
    try {
      await this.#page(results, this.running.signal);
      this.phase = 'ready';
    } catch (problem) {
      if (problem.name === 'AbortError') return;
      this.#fail(problem, 'search');
    }
    this.#changed();
  }

  /** What a new search keeps of the one before: how to look, not what for. */
  #kept() {
    const { grain, parts, group, where } = this.state;
    return { ...EMPTY, grain, parts, group, where };
  }

  async #arrive() {
    this.state = readAddress(location.search);
    this.tuned = null;
    this.closing = false;
    const { scroll = 0, loaded = 0 } = history.state ?? {};
    const same = this.results?.key === keyOf(this.state);
    await this.#run(Math.min(loaded, MOST_AGAIN));
    if (!same || this.state.open === null) this.dispatchEvent(new CustomEvent('place', { detail: scroll }));
  }

  #keepPlace() {
    const loaded = this.results?.key === keyOf(this.state) ? this.results.hits.length : 0;
    history.replaceState({ ...history.state, scroll: scrollY, loaded }, '');
  }

  async #run(loaded = 0) {
    const key = keyOf(this.state);
    const known = this.cached.get(key);
    if (known) {
      this.running?.abort();
      this.running = new AbortController();
      this.results = known;
      this.phase = 'ready';
      this.problem = null;
      this.#changed();
      return;
    }
    this.running?.abort();
    const running = (this.running = new AbortController());
    this.phase = 'loading';
    this.problem = null;
    this.#changed();
    const results = { key, state: this.state, hits: [], groups: null, next: null, total: null, words: null };
    try {
      do await this.#page(results, running.signal);
      while (results.next && results.hits.length < loaded);
      this.results = results;
      this.#remember(results);
      this.phase = 'ready';
    } catch (problem) {
      if (problem.name === 'AbortError' || running.signal.aborted) return;
      if (await this.#sentAgain(problem)) return;
      this.#fail(problem, 'search');
    }
    this.#changed();
  }

  async #page(results, signal) {
    const { state, next } = results;
    if (!asks(state)) {
      const found = await api.items({ where: state.where.trim(), cursor: next, k: PAGE }, signal);
      results.hits = [...results.hits, ...found.items];
      results.next = found.next;
      return;
    }
    const body = { ...searchBody(state), k: state.group ? GROUPED : PAGE };
    if (next) body.cursor = next;
    const found = await api.search(body, signal);
    const seen = new Set(results.hits.map((hit) => hit.id));
    results.groups = found.groups ?? null;
    results.hits = [...results.hits, ...(found.hits ?? []).filter((hit) => !seen.has(hit.id))];
    results.next = found.next ?? null;
    results.total = found.total ?? null;
    results.words = found.words ?? null;
    results.milliseconds ??= found.milliseconds;
  }

  /** A picture that the server has forgotten and the page still has is sent once more. */
  async #sentAgain(problem) {
    const { upload } = this.state;
    if (upload === null || problem.code !== 'upload_gone') return false;
    const sent = await this.uploads.again(upload).catch(() => null);
    if (!sent || this.state.upload !== upload) return false;
    this.go({ upload: sent.upload }, { replace: true });
    return true;
  }

  #remember(results) {
    this.cached.set(results.key, results);
    if (this.cached.size > CACHED) this.cached.delete(this.cached.keys().next().value);
  }

  #fail(problem, doing) {
    if (!(problem instanceof api.Problem)) throw problem;
    problem.doing = doing;
    this.problem = problem;
    this.phase = doing === 'search' ? 'error' : 'ready';
    this.#changed();
  }

  #changed() {
    this.dispatchEvent(new Event('change'));
  }
}

const keyOf = (state) => JSON.stringify(searchBody(state));

const queryKey = ({ upload, item, text, like, unlike, where, grain, group }) =>
  JSON.stringify([upload, item, text, like, unlike, where, grain, group]);
