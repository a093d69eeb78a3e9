// From hits, or groups of hits, to what the grid shows: one entry a picture, near copies folded behind the best.

import { nameOf } from './telling.js';
import { spoken, t } from './texts.js';

const FEWEST = 2; // pictures of a group that has a heading

/**
 * { entries: [{hit, copies, copyOf}], headings: Map(index -> text) } of results. `unfolded` has the ids of hits whose
 * copies are shown; `least` leaves out hits of a lower score; `sort` is how those that are loaded stand, if not in groups.
 */
export function entriesOf(results, unfolded, least = 0, sort = 'score') {
  if (!results) return { entries: [], headings: new Map() };
  if (!results.groups) {
    const hits = least > 0 ? results.hits.filter((hit) => hit.score >= least) : results.hits;
    return { entries: sorted(hits, sort).map((hit) => ({ hit, copies: 0, copyOf: null })), headings: new Map() };
  }
  const entries = [];
  const headings = new Map();
  results.groups.forEach((group, number) => {
    if (group.representative.score < least) return;
    const count = group.count;
    if (count >= FEWEST) headings.set(entries.length, t('group.heading', { n: count, number: number + 1 }));
    else if (!number || results.groups[number - 1].count >= FEWEST) headings.set(entries.length, t('group.single'));
    for (const finest of leaves(group)) {
      const others = finest.others ?? [];
      entries.push({ hit: finest.representative, copies: others.length, copyOf: null });
      if (unfolded.has(finest.representative.id)) {
        for (const hit of others) entries.push({ hit, copies: 0, copyOf: finest.representative.id });
      }
    }
  });
  return { entries, headings };
}

/** Hits in another order: by name, or the newest first, where those without a date come last. */
function sorted(hits, sort) {
  if (sort === 'score') return hits;
  const names = new Intl.Collator(spoken(), { numeric: true });
  const byName = (one, other) => names.compare(nameOf(one), nameOf(other)) || one.id - other.id;
  const byDate = (one, other) => (other.taken ?? '').localeCompare(one.taken ?? '') || one.id - other.id;
  return hits.toSorted(sort === 'name' ? byName : byDate);
}

function leaves(group) {
  return group.groups?.length ? group.groups.flatMap(leaves) : [group];
}

/** How many pictures results hold, folded ones included. */
export function held(results) {
  if (!results) return 0;
  return results.groups ? results.groups.reduce((sum, group) => sum + group.count, 0) : results.hits.length;
}

/** The hit of an item in results, folded or not, or null. */
export function hitOf(results, id) {
  if (!results) return null;
  if (!results.groups) return results.hits.find((hit) => hit.id === id) ?? null;
  for (const group of results.groups.flatMap(leaves)) {
    const hit = [group.representative, ...(group.others ?? [])].find((each) => each.id === id);
    if (hit) return hit;
  }
  return null;
}
