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

async function call(path, { method = 'GET', body, json, type, signal } = {}) {
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
    if (!busy || attempt >= RETRIES || !(wait <= LONGEST_WAIT)) {
      throw new Problem(answer.status, await answer.json().catch(() => ({})));
    }
    await new Promise((resolve) => setTimeout(resolve, 1000 * wait));
    signal?.throwIfAborted();
  }
}

const asJson = (answer) => answer.json();

export const library = () => call('library').then(asJson);

export const upload = (blob, signal) =>
  call('uploads', { method: 'POST', body: blob, type: blob.type || 'application/octet-stream', signal }).then(asJson);

export const search = (body, signal) => call('search', { method: 'POST', json: body, signal }).then(asJson);

export const item = (id, signal) => call(`items/${id}`, { signal }).then(asJson);

export function items({ where, cursor, k }, signal) {
  const asked = new URLSearchParams({ k });
  if (where) asked.set('where', where);
  if (cursor) asked.set('cursor', cursor);
  return call(`items?${asked}`, { signal }).then(asJson);
}

export const why = (query, id, signal) =>
  call('why', { method: 'POST', json: { query, item: id }, signal }).then((answer) => answer.blob());

const EDGES = [128, 256, 512, 1024];

/** The address of a thumbnail that is sharp at so many pixels of the screen. */
export function thumbnail(id, pixels) {
  const edge = EDGES.find((each) => each >= 0.85 * pixels) ?? EDGES.at(-1);
  return `api/v1/items/${id}/thumbnail?edge=${edge}`;
}

export const original = (id) => `api/v1/items/${id}/original`;

export const uploaded = (token) => `api/v1/uploads/${encodeURIComponent(token)}/picture`;
