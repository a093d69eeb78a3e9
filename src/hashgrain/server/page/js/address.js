// What is searched for and how, as the address of the page says it: one object, one query string, both ways.

export const VIEWS = Object.freeze(['search', 'browse', 'duplicates', 'map', 'activity', 'settings']);
export const SORTS = Object.freeze(['score', 'date', 'name']);

export const EMPTY = Object.freeze({
  view: 'search',
  inside: null, // id of the kind or thing that is browsed
  area: null, // corners [x, y, x, y, ...] of a polygon on the map
  upload: null, // token of an uploaded picture
  item: null, // id of a picture of the library
  text: '', // words
  box: null, // [left, top, right, bottom], fractions of the picture that is searched with
  like: Object.freeze([]), // ids of more examples
  unlike: Object.freeze([]),
  grain: null, // null: the library's default
  parts: 'auto',
  where: '',
  score: 0, // the cut-off: hits below it are left out
  group: false,
  sort: 'score',
  open: null, // id of the picture in the detail view
});

const ids = (text) => [...new Set((text ?? '').split(',').filter((each) => /^\d{1,15}$/.test(each)).map(Number))];

const id = (text) => (/^\d{1,15}$/.test(text ?? '') ? Number(text) : null);

/** A box of four fractions with some area, or null. */
export function boxOf(text) {
  const box = (text ?? '').split(',').map(Number);
  if (box.length !== 4 || !box.every((each) => each >= 0 && each <= 1)) return null;
  return box[2] > box[0] && box[3] > box[1] ? box : null;
}

export const boxText = (box) => box.map((each) => String(Math.round(each * 1e4) / 1e4)).join(',');

/** The corners of a polygon on the map, or null. */
export function areaOf(text) {
  const area = (text ?? '').split(',').map(Number);
  const sound = area.length >= 6 && area.length <= 400 && area.length % 2 === 0;
  return sound && area.every((each) => Number.isFinite(each) && Math.abs(each) <= 4) ? area : null;
}

const areaText = (area) => area.map((each) => String(Math.round(each * 1e4) / 1e4)).join(',');

/** The state that a query string says; whatever does not read as one is left out. */
export function readAddress(search) {
  const given = new URLSearchParams(search);
  const score = Number(given.get('score') ?? 0);
  const view = VIEWS.includes(given.get('view')) ? given.get('view') : 'search';
  const state = {
    ...EMPTY,
    view,
    inside: view === 'browse' && /^\d{1,9}(\.\d{1,9}){0,3}$/.test(given.get('in') ?? '') ? given.get('in') : null,
    area: view === 'map' || view === 'search' ? areaOf(given.get('area')) : null,
    sort: SORTS.includes(given.get('sort')) ? given.get('sort') : 'score',
    upload: given.get('upload'),
    item: id(given.get('item')),
    text: given.get('text') ?? '',
    box: boxOf(given.get('box')),
    like: ids(given.get('like')),
    unlike: ids(given.get('unlike')),
    grain: given.get('grain'),
    parts: ['whole', 'all'].includes(given.get('parts')) ? given.get('parts') : 'auto',
    where: given.get('where') ?? '',
    score: score > 0 && score <= 1 ? score : 0,
    group: given.get('group') === '1',
    open: id(given.get('open')),
  };
  if (view !== 'search') return { ...EMPTY, view, inside: state.inside, area: state.area, sort: state.sort, open: state.open };
  if (state.upload !== null) state.item = null;
  if (state.upload !== null || state.item !== null) state.text = '';
  if (state.like.length) state.text = '';
  if (state.text) state.unlike = [];
  if (state.like.length || state.unlike.length) state.box = null; // examples are whole pictures, and no words
  return state;
}

/** The query string of a state: what is as in EMPTY is left out. */
export function writeAddress(state) {
  const written = new URLSearchParams();
  const put = (name, value) => value !== null && value !== '' && written.set(name, value);
  put('view', state.view === 'search' ? null : state.view);
  put('in', state.inside);
  put('area', state.area && areaText(state.area));
  put('upload', state.upload);
  put('item', state.item);
  put('text', state.text);
  put('box', state.box && boxText(state.box));
  put('like', state.like.join(','));
  put('unlike', state.unlike.join(','));
  put('grain', state.grain);
  put('parts', state.parts === 'auto' ? null : state.parts);
  put('where', state.where);
  put('score', state.score > 0 ? String(state.score) : null);
  put('group', state.group ? '1' : null);
  put('sort', state.sort === 'score' ? null : state.sort);
  put('open', state.open);
  const query = written.toString().replaceAll('%2C', ',');
  return query ? `?${query}` : './';
}

/** Whether anything is searched for; otherwise the library is leafed through. */
export const asks = (state) =>
  state.upload !== null || state.item !== null || state.text !== '' || state.like.length > 0;

/** The body of a search, without page size and cursor. */
export function searchBody(state) {
  const body = {
    grain: state.grain ?? undefined,
    parts: state.parts,
    where: state.where.trim() || undefined,
    min_score: state.score > 0 ? state.score : undefined,
    group: state.group || undefined,
  };
  const query = queryOf(state);
  if (query) body.query = query;
  if (state.box && !state.text) body.boxes = [state.box];
  if (state.like.length) body.like = state.like.map((item) => ({ item }));
  if (state.unlike.length) body.unlike = state.unlike.map((item) => ({ item }));
  return body;
}

/** What is searched with, as the server takes it, or null. */
export function queryOf(state) {
  if (state.upload !== null) return { upload: state.upload };
  if (state.item !== null) return { item: state.item };
  return state.text ? { text: state.text } : null;
}
