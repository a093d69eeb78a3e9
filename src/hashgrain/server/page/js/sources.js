// Where the pictures of a view come from, a page at a time: a search, the library, a group, an area of the map.

import { asks, searchBody } from './address.js';
import * as api from './api.js';

const FIRST = 60; // hits that are asked for at first: a window full, and some below
const PAGE = 100; // hits asked for at once from then on
const GROUPED = 300; // hits that are grouped
export const MOST_WITHIN = 10_000; // pictures that a search can be kept to

/** What kind of list a state shows, or null. */
export function sourceOf(state) {
  if (state.view === 'browse') return state.inside === null ? null : 'scene';
  if (state.view === 'map') return state.area ? 'area' : null;
  if (state.view !== 'search') return null;
  if (asks(state)) return 'search';
  return state.area ? 'area' : 'library';
}

/** A name for a list: the same for states that show the same. */
export function keyOf(state) {
  const source = sourceOf(state);
  if (source === 'scene') return JSON.stringify([source, state.inside]);
  if (source === 'area') return JSON.stringify([source, state.area, state.where]);
  return JSON.stringify([source, state.area, searchBody(state)]);
}

export const noResults = (state) => ({
  key: keyOf(state), source: sourceOf(state), state, hits: [], groups: null, next: null, total: null, words: null,
});

/** Load the next page of results into them. `progress` hears how much is done of what the server has to make first. */
export async function loadPage(results, signal, progress) {
  const { state, next } = results;
  if (results.source === 'search') return searched(results, signal, progress);
  if (results.source === 'area') return inArea(results, signal, progress);
  const answer =
    results.source === 'scene'
      ? await api.scene(state.inside, { cursor: next, k: PAGE }, signal, progress)
      : await api.items({ where: state.where.trim(), cursor: next, k: next ? PAGE : FIRST }, signal);
  results.hits = [...results.hits, ...answer.items];
  results.next = answer.next;
}

async function searched(results, signal, progress) {
  const { state, next } = results;
  const body = { ...searchBody(state), k: state.group ? GROUPED : next ? PAGE : FIRST };
  if (next) body.cursor = next;
  if (state.area) {
    const ids = await idsIn(results, signal, progress);
    results.ids = ids.slice(0, MOST_WITHIN);
    if (!ids.length) return;
    body.items = results.ids;
  }
  const answer = await api.search(body, signal);
  const seen = new Set(results.hits.map((hit) => hit.id));
  results.groups = answer.groups ?? null;
  results.hits = [...results.hits, ...(answer.hits ?? []).filter((hit) => !seen.has(hit.id))];
  results.next = answer.next ?? null;
  results.total = answer.total ?? null;
  results.words = answer.words ?? null;
  results.milliseconds ??= answer.milliseconds;
}

/** The pictures of an area, by their ids: a piece of the list at a time, so that an address stays short. */
async function inArea(results, signal, progress) {
  const { state } = results;
  results.ids = await idsIn(results, signal, progress);
  const where = state.where.trim();
  let from = results.next ?? 0;
  let answer = [];
  while (!answer.length && from < results.ids.length) {
    answer = (await api.items({ where, ids: results.ids.slice(from, from + PAGE), k: PAGE }, signal)).items;
    from += PAGE;
  }
  results.hits = [...results.hits, ...answer];
  results.next = from < results.ids.length ? from : null;
  results.total = where ? null : results.ids.length;
}

async function idsIn(results, signal, progress) {
  if (results.ids) return results.ids;
  const { loadMap } = await import('./map-data.js');
  return (await loadMap(signal, progress)).within(results.state.area);
}
