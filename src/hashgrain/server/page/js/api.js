// The server, as functions. Addresses are relative to the page, so that a proxy may put it under a path.

const RETRIES = 2; // of an answer that says when to come back
const LONGEST_WAIT = 5; // seconds

/** What the server, or the way to it, refused. `status` is 0 where no answer came. */
export class Problem extends Error {
  constructor(status, body = {}) {
    super(body.detail || body.title || '');
    this.status = status;
    this.code = body.code ?? '';
    this.request = body.request_id ?? '';
  }
}

async function call(path, { method = 'GET', body, json, type, signal, patient = true } = {}) {
  const headers = {};
  if (json !== undefined) headers['Content-Type'] = 'application/json';
  else if (type) headers['Content-Type'] = type;
  const options = { method, headers, body: json === undefined ? body : JSON.stringify(json), signal };
  for (let attempt = 0; ; attempt += 1) {
    let answer;
    try {
      answer = await fetch(`api/v1/${path}`, options);
    } catch (error) {
      if (error.name === 'AbortError') throw error;
      throw new Problem(0);
    }
    if (answer.ok) return answer;
    const busy = answer.status === 503 || answer.status === 429;
    const wait = Number(answer.headers.get('Retry-After') || NaN);
    if (!busy || !patient || attempt >= RETRIES || !(wait <= LONGEST_WAIT)) {
      throw new Problem(answer.status, await answer.json().catch(() => ({})));
    }
    await pause(1000 * wait, signal);
  }
}

const asJson = (answer) => answer.json();

const post = (path, json, signal) => call(path, { method: 'POST', json, signal }).then(asJson);

const pause = (milliseconds, signal) =>
  new Promise((resolve, reject) => {
    signal?.throwIfAborted();
    const timer = setTimeout(resolve, milliseconds);
    signal?.addEventListener('abort', () => {
      clearTimeout(timer);
      reject(signal.reason);
    }, { once: true });
  });

const ASKED_AGAIN = [250, 500, 1000, 2000]; // milliseconds; the last of them from then on

/** What the server makes of the whole library, asked for until it is there. `progress` hears the share that is done. */
async function made(path, signal, progress) {
  for (let turn = 0; ; turn += 1) {
    const answer = await call(path, { signal });
    if (answer.status !== 202) return answer;
    dispatchEvent(new Event('making'));
    progress?.((await answer.json()).done ?? 0);
    await pause(ASKED_AGAIN[Math.min(turn, ASKED_AGAIN.length - 1)], signal);
  }
}

export const library = () => call('library').then(asJson);

export const upload = (blob, signal) =>
  call('uploads', { method: 'POST', body: blob, type: blob.type || 'application/octet-stream', signal }).then(asJson);

export const search = (body, signal) => post('search', body, signal);

export const item = (id, signal) => call(`items/${id}`, { signal }).then(asJson);

export function items({ where, cursor, k, ids }, signal) {
  const asked = new URLSearchParams({ k });
  if (ids) asked.set('items', ids.join(','));
  if (where) asked.set('where', where);
  if (cursor) asked.set('cursor', cursor);
  return call(`items?${String(asked).replaceAll('%2C', ',')}`, { signal }).then(asJson);
}

export const why = (query, id, signal) =>
  call('why', { method: 'POST', json: { query, item: id }, signal }).then((answer) => answer.blob());

export const scenes = (signal, progress) => made('scenes', signal, progress).then(asJson);

export function scene(id, { cursor, k }, signal, progress) {
  const asked = new URLSearchParams({ k });
  if (cursor) asked.set('cursor', cursor);
  return made(`scenes/${encodeURIComponent(id)}?${asked}`, signal, progress).then(asJson);
}

export function duplicates({ word, cursor, k }, signal, progress) {
  const asked = new URLSearchParams({ word, k });
  if (cursor) asked.set('cursor', cursor);
  return made(`duplicates?${asked}`, signal, progress).then(asJson);
}

export const map = (signal, progress) => made('map', signal, progress).then(asJson);

export const mapPoints = (version, signal) =>
  made(`map/points?version=${encodeURIComponent(version)}`, signal).then((answer) => answer.arrayBuffer());

export const tags = (key, k, signal) => call(`tags?${new URLSearchParams({ key, k })}`, { signal }).then(asJson);

export const tag = (ids, { key, add = [], remove = [] }) => post('tags', { items: ids, key, add, remove });

export const takeOut = (ids) => post('items/remove', { items: ids });

export const trash = (ids) => post('duplicates/trash', { items: ids });

export const undo = (token) => call(`undo/${encodeURIComponent(token)}`, { method: 'POST' }).then(asJson);

export const jobs = (signal) => call('jobs', { signal, patient: false }).then(asJson);

export const addFolder = (folder, parts) => post('jobs', { add: { folder, parts } });

export const stopJob = (id) => call(`jobs/${encodeURIComponent(id)}`, { method: 'DELETE' });

const EDGES = [128, 256, 512, 1024];

/** The address of a thumbnail that is sharp at so many pixels of the screen. */
export function thumbnail(id, pixels) {
  const edge = EDGES.find((each) => each >= 0.85 * pixels) ?? EDGES.at(-1);
  return `api/v1/items/${id}/thumbnail?edge=${edge}`;
}

export const original = (id) => `api/v1/items/${id}/original`;

export const uploaded = (token) => `api/v1/uploads/${encodeURIComponent(token)}/picture`;
