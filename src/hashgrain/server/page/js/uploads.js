// Pictures that were sent to the server, and what the page still has of them.

import * as api from './api.js';

const KEPT = 8;

export class Uploads {
  constructor() {
    this.sent = new Map(); // token -> {blob, name, url, width, height}
  }

  async send(blob, name, signal) {
    const answer = await api.upload(blob, signal);
    this.sent.set(answer.upload, { ...answer, blob, name, url: URL.createObjectURL(blob) });
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
    return this.send(known.blob, known.name);
  }

  known(token) {
    return this.sent.get(token) ?? null;
  }

  /** Where the picture of an upload is shown from: the server's copy is upright and of a format that every browser knows. */
  address(token) {
    return api.uploaded(token);
  }
}
