// What the page is doing: the state of the address, the results of its search, and the way between them.

import * as api from './api.js';
import { EMPTY, asks, readAddress, writeAddress } from './address.js';
import { entriesOf, held } from './folding.js';
import { keyOf, loadPage, noResults, sourceOf } from './sources.js';
import { preference } from './prefs.js';
import { Uploads } from './uploads.js';

const CACHED = 12; // searches whose results are kept for going back
const MOST_AGAIN = 5000; // hits loaded again for a place that a reload keeps
const SELDOM = 200; // milliseconds between two places that are kept: keeping one takes as long as drawing a frame

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
    this.unfolded = new Set(); // ids of hits whose copies are shown
    this.least = null; // the cut-off while its slider moves; null: that of the state
    this.chosen = new Set(); // ids of pictures that are selected
    this.notice = null; // {text, undo} of the last change
    this.making = null; // the share that is done of what the server has to make first
    this.outdated = false; // whether the library has changed since the results were found
    this.searched = './'; // the address of the last search, for the way back to it
    history.scrollRestoration = 'manual';
    addEventListener('popstate', () => this.#arrive());
    addEventListener('pagehide', () => this.#keepPlace());
    addEventListener('scrollend', () => this.#scrolled());
  }

  start() {
    return this.#arrive();
  }

  get asking() {
    return asks(this.state);
  }

  get grain() {
    return this.state.grain ?? this.preferredGrain;
  }

  /** The grain that one starts with, if the library has it. */
  get preferredGrain() {
    const wished = preference('grain');
    return this.library.grains.some(({ name }) => name === wished) ? wished : this.library.default_grain;
  }

  /** What the grid shows: { entries, headings, count }. The same object as long as nothing of it changed. */
  get shown() {
    const { results, unfolded, state } = this;
    const least = this.asking ? (this.least ?? state.score) : 0;
    const from = [results, results?.hits, results?.groups, unfolded, least, state.sort];
    if (this.drawn && this.drawn.from.every((each, i) => each === from[i])) return this.drawn;
    const { entries, headings } = entriesOf(results, unfolded, least, state.sort);
    const folded = entries.reduce((sum, { hit, copies }) => sum + (unfolded.has(hit.id) ? 0 : copies), 0);
    const count = least === results?.state.score ? (results.total ?? held(results)) : entries.length + folded;
    this.drawn = { from, entries, headings, count };
    return this.drawn;
  }

  /** Let what is loaded follow the slider of the cut-off. */
  cut(least) {
    this.least = least;
    this.#changed();
  }

  unfold(id) {
    this.unfolded = new Set(this.unfolded);
    if (!this.unfolded.delete(id)) this.unfolded.add(id);
    this.#changed();
  }

  /** Select pictures, or no longer; null: none. */
  choose(ids, on = null) {
    this.chosen = new Set(ids === null ? [] : this.chosen);
    for (const id of ids ?? []) {
      if (on ?? !this.chosen.has(id)) this.chosen.add(id);
      else this.chosen.delete(id);
    }
    this.#changed();
  }

  redraw() {
    this.#changed();
  }

  say(notice) {
    this.notice = notice;
    this.#changed();
  }

  /** The state of the search that is open; of an empty one in another view. */
  get searching() {
    return this.state.view === 'search' ? this.state : EMPTY;
  }

  home() {
    this.go({ ...EMPTY, grain: this.state.grain });
  }

  /** Go to a view: to where one was in it last, where it keeps that. */
  view(view) {
    if (view === 'search') this.go(readAddress(new URL(this.searched, location.href).search));
    else this.go({ ...EMPTY, view });
  }

  /** The library has changed: what was loaded before counts no longer. With `again`, the list is loaded anew. */
  async refresh({ again = false } = {}) {
    this.cached.clear();
    this.library = (await api.library().catch(() => null)) ?? this.library;
    this.revised = (this.revised ?? 0) + 1;
    if (again) await this.#run(Math.min(this.results?.hits.length ?? 0, MOST_AGAIN));
    else this.outdated = this.results !== null;
    this.#changed();
  }

  /** How lists are found has changed: none that was loaded counts any more. */
  forget() {
    this.cached.clear();
    this.#changed();
  }

  /** The server answers again after it was away. */
  returned() {
    if (this.problem?.status === 0) this.retry();
    return this.refresh();
  }

  /** Change what is known of pictures that are loaded; a picture for which `change` gives null goes. */
  amend(ids, change) {
    const some = new Set(ids);
    for (const results of [this.results, ...this.cached.values()]) {
      if (results) results.hits = results.hits.flatMap((hit) => (some.has(hit.id) ? (change(hit) ?? []) : hit));
    }
    this.#changed();
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
    this.least = null;
    const other = queryKey(next) !== queryKey(this.state);
    this.state = next;
    this.#entered();
    if (other) this.dispatchEvent(new CustomEvent('place', { detail: 0 }));
    this.#run();
  }

  /** The change that was tuned is done: the next one is a step of its own. */
  settle() {
    this.tuned = null;
  }

  #entered() {
    if (this.state.view === 'search') this.searched = writeAddress({ ...this.state, open: null });
  }

  searchItem(id) {
    this.go({ ...this.#kept(), item: id });
  }

  searchText(text) {
    this.go({ ...this.#kept(), text: text.trim() });
  }

  clear() {
    this.go({ ...EMPTY, grain: this.state.grain, area: this.state.area });
  }

  /**
   * Mark a picture as an example (`like`), as a counter-example (`unlike`), or take the mark off. Examples are whole
   * pictures: a box goes, and so do words.
   */
  mark(id, list) {
    if (list === 'unlike' && this.state.text) return undefined;
    const other = list === 'like' ? 'unlike' : 'like';
    const marked = this.state[list].includes(id);
    if (this.state.view !== 'search') return this.go({ ...EMPTY, [list]: [id] });
    return this.go({
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
    const url = URL.createObjectURL(blob);
    this.uploading = { name, url };
    this.problem = null;
    this.#changed();
    try {
      const sent = await this.uploads.send(blob, name, url, sending.signal);
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
      await loadPage(results, this.running.signal);
      this.phase = 'ready';
    } catch (problem) {
      if (problem.name === 'AbortError') return;
      this.#fail(problem, 'search');
    }
    this.#changed();
  }

  /** What a new search keeps of the one before: how to look, not what for. */
  #kept() {
    const { view, grain, parts, group, where, area } = this.state;
    return view === 'search' ? { ...EMPTY, grain, parts, group, where, area } : EMPTY;
  }

  async #arrive() {
    this.state = readAddress(location.search);
    this.tuned = null;
    this.least = null;
    this.closing = false;
    this.#entered();
    const { scroll = 0, loaded = 0 } = history.state ?? {};
    const same = this.results?.key === keyOf(this.state);
    await this.#run(Math.min(loaded, MOST_AGAIN));
    if (!same || this.state.open === null) this.dispatchEvent(new CustomEvent('place', { detail: scroll }));
  }

  /** Keep the place; of those that follow one another quickly, some, and the last. */
  #scrolled() {
    clearTimeout(this.keeping);
    const wait = (this.kept ?? -SELDOM) + SELDOM - performance.now();
    if (wait > 0) this.keeping = setTimeout(() => this.#keepPlace(), wait);
    else this.#keepPlace();
  }

  #keepPlace() {
    this.kept = performance.now();
    const loaded = this.results?.key === keyOf(this.state) ? this.results.hits.length : 0;
    history.replaceState({ ...history.state, scroll: scrollY, loaded }, '');
  }

  async #run(loaded = 0) {
    const key = keyOf(this.state);
    const known = sourceOf(this.state) ? this.cached.get(key) : null;
    this.making = null;
    if (known || !sourceOf(this.state)) {
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
    this.outdated = false;
    if (this.results && this.results.source !== sourceOf(this.state)) this.results = null;
    this.#changed();
    const results = noResults({ ...this.state, grain: this.asking ? this.grain : null });
    results.key = key;
    try {
      do await loadPage(results, running.signal, (done) => this.#made(done, running));
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

  #made(done, running) {
    if (running.signal.aborted) return;
    this.making = done;
    this.#changed();
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

const queryKey = ({ view, inside, area, upload, item, text, like, unlike, where, grain, group }) =>
  JSON.stringify([view, inside, view === 'map' ? null : area, upload, item, text, like, unlike, where, grain, group]);
