// What changes the library from the page: tags, taking pictures out, moving copies to the trash; and taking that back.

import * as api from './api.js';
import { t } from './texts.js';

export const TAG = 'tag'; // the key of metadata that tags are kept under

export const tagsOf = (item, key = TAG) =>
  [item?.meta?.[key] ?? []].flat().filter((each) => typeof each === 'string' && each !== '');

/** Do something, and say what came of it: `done` gives the notice. Whether it was done. */
async function changing(session, act, done) {
  try {
    session.say(done(await act()));
    return true;
  } catch (problem) {
    if (!(problem instanceof api.Problem)) throw problem;
    session.say({ problem });
    return false;
  }
}

/** Give pictures tags, or take them off. */
export async function tag(session, ids, { add = [], remove = [], key = TAG }) {
  const done = await changing(session, () => api.tag(ids, { key, add, remove }), ({ changed, undo }) => ({
    text: t('notice.tagged', { n: changed }), undo,
  }));
  if (!done) return false;
  session.amend(ids, (item) => ({ ...item, meta: { ...item.meta, [key]: withTags(tagsOf(item, key), add, remove) } }));
  await session.refresh({ again: Boolean(session.state.where) });
  session.outdated = false;
  return true;
}

const withTags = (known, add, remove) => [...new Set([...known, ...add])].filter((each) => !remove.includes(each));

/** Take pictures out of the library; their files stay. */
export function takeOut(session, ids) {
  return gone(session, ids, () => api.takeOut(ids), ({ removed, undo }) => ({
    text: t('notice.out', { n: removed }), undo,
  }));
}

/** Move the files of copies to the trash, and take them out of the library. */
export function trash(session, ids) {
  let left = [];
  const act = async () => {
    const answer = await api.trash(ids);
    left = answer.left ?? [];
    return answer;
  };
  return gone(session, ids, act, ({ moved, undo }) => ({
    text: t('notice.trash', { n: moved }), undo: moved ? undo : null,
    more: left.map(({ why }) => why).slice(0, 3),
    left: left.map(({ item }) => item),
  }));
}

async function gone(session, ids, act, done) {
  if (!(await changing(session, act, done))) return false;
  const left = new Set(session.notice.left ?? []);
  const out = ids.filter((id) => !left.has(id));
  session.amend(out, () => null);
  session.choose(out, false);
  session.dispatchEvent(new CustomEvent('gone', { detail: out }));
  await session.refresh();
  session.outdated = false;
  return true;
}

/** Bring back what the last notice is about. */
export async function takeBack(session) {
  const { undo } = session.notice;
  const done = await changing(session, () => api.undo(undo), ({ left }) => ({
    text: t('notice.back'), more: (left ?? []).map(({ path, why }) => `${path}: ${why}`).slice(0, 3),
  }));
  if (!done) return false;
  await session.refresh({ again: true });
  session.dispatchEvent(new Event('back'));
  return true;
}
