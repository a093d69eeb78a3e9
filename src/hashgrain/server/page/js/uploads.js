// Pictures that were sent to the server, and what the page still has of them.

import * as api from './api.js';

const KEPT = 8;
const SHOWN = new Set(['image/jpeg', 'image/png', 'image/webp']); // what every browser shows, and upright

export class Uploads {
  constructor() {
    this.sent = new Map(); // token -> {blob, name, url, width, height}
  }

  /** `url` is that of the blob. */
  async send(blob, name, url, signal) {
    const answer = await api.upload(blob, signal);
    this.sent.set(answer.upload, { ...answer, blob, name, url });
    for (const [token, old] of this.sent) {
      if (this.sent.size <= KEPT) break;
      URL.revokeObjectURL(old.url);
      this.sent.delete(token);
    }
    return answer;
  }

  /** Send a picture again that the server no longer has; null if the page does not have it either. */
  async again(token) {
    const known = this.sent.get(token);
    if (!known) return null;
    this.sent.delete(token);
    return this.send(known.blob, known.name, known.url);
  }

  known(token) {
    return this.sent.get(token) ?? null;
  }

  /** Where the picture of an upload is shown from: the page's own, or the server's, which is a JPEG whatever was sent. */
  address(token) {
    const known = this.known(token);
    return known && SHOWN.has(known.blob.type) ? known.url : api.uploaded(token);
  }
}
