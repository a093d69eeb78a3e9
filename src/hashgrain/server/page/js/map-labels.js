// What stands over the points of the map: names of kinds, and pictures where there is room for them.

import { thumbnail } from './api.js';
import { writeAddress, EMPTY } from './address.js';
import { groupName } from './telling.js';

const NAMES = 40; // shown at once
const LOOKED = 600; // kinds that are looked at for room
const LINE = 26; // pixels
const PICTURES = 160; // points in sight from which on pictures are shown
const FEW = 40;
const EDGE = 64; // pixels of a picture; where there are few, the larger one
const LARGE = 104;

export class Labels {
  /** Draws into an element, which nothing else touches. */
  constructor(place) {
    this.place = place;
    this.pools = { a: [], img: [] };
  }

  draw(view, data) {
    const taken = [];
    this.#names(view, data, taken);
    this.#pictures(view, data, taken);
  }

  #names(view, data, taken) {
    const [left, low, right, high] = view.box;
    const use = this.#pool('a');
    let shown = 0;
    for (const kind of data.kinds.slice(0, LOOKED)) {
      if (shown === NAMES || kind.count < 2) break;
      if (kind.x < left || kind.x > right || kind.y < low || kind.y > high) continue;
      const text = groupName(kind);
      const [x, y] = view.toPixels(kind.x, kind.y);
      const half = widthOf(text) / 2;
      if (!claim(taken, [x - half, y - LINE / 2, x + half, y + LINE / 2])) continue;
      shown += 1;
      const label = use();
      if (label.textContent !== text) label.textContent = text;
      label.dataset.kind = kind.id;
      label.dataset.color = data.colors.get(Number(kind.id)) ?? 0;
      label.href = writeAddress({ ...EMPTY, view: 'browse', inside: String(kind.id) });
      label.style.transform = `translate(${x}px, ${y}px) translate(-50%, -50%)`;
    }
    use.end();
  }

  #pictures(view, data, taken) {
    const use = this.#pool('img');
    const { box } = view;
    const near = [];
    if (data.countIn(box) <= 4 * PICTURES) {
      data.every(box, (i) => {
        const [x, y] = [data.places[2 * i], data.places[2 * i + 1]];
        if (x >= box[0] && x <= box[2] && y >= box[1] && y <= box[3]) near.push(i);
      });
    }
    const edge = near.length <= FEW ? LARGE : EDGE;
    const sharp = edge * Math.min(2, devicePixelRatio);
    for (const i of near.length <= PICTURES ? near : []) {
      const [x, y] = view.toPixels(data.places[2 * i], data.places[2 * i + 1]);
      if (!claim(taken, [x - edge / 2, y - edge / 2, x + edge / 2, y + edge / 2])) continue;
      const image = use();
      const src = thumbnail(data.ids[i], sharp);
      if (image.getAttribute('src') !== src) image.src = src;
      image.classList.toggle('large', edge === LARGE);
      image.style.transform = `translate(${x}px, ${y}px) translate(-50%, -50%)`;
    }
    use.end();
  }

  /** Elements of one kind, used again; `end` hides those that were not used. */
  #pool(name) {
    const pool = this.pools[name];
    let used = 0;
    const use = () => {
      if (used === pool.length) {
        const made = document.createElement(name);
        if (name === 'a') made.tabIndex = -1;
        else made.alt = '';
        made.draggable = false;
        pool.push(made);
        this.place.append(made);
      }
      const element = pool[used];
      element.hidden = false;
      used += 1;
      return element;
    };
    use.end = () => pool.slice(used).forEach((each) => (each.hidden = true));
    return use;
  }
}

const widthOf = (text) => 20 + [...text].reduce((sum, each) => sum + (each > '\u2e80' ? 14 : 7.2), 0);

/** Take a rectangle if it is free. */
function claim(taken, [left, top, right, bottom]) {
  if (taken.some((each) => left < each[2] && right > each[0] && top < each[3] && bottom > each[1])) return false;
  taken.push([left, top, right, bottom]);
  return true;
}
