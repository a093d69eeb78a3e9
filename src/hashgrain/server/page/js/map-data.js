// The points of the map: in tiles, so that what is near a place or within an area is found without looking at all.

import * as api from './api.js';

const TILES = 32; // in each direction
const POINT = 12; // bytes: id, x, y; those of a kind stand one after the other
export const COLORS = 12; // kinds with a color of their own; the others share one

/** Places are from -1 to 1, y upwards. Points stand in the order of their tiles, in each tile as if shuffled. */
export class MapData {
  constructor({ version, kinds }, buffer) {
    this.version = version;
    this.kinds = kinds.toSorted((one, other) => other.count - one.count);
    this.colors = new Map(this.kinds.slice(0, COLORS).filter(({ count }) => count > 1).map(({ id }, i) => [Number(id), i + 1]));
    this.names = new Map(this.kinds.map((kind) => [Number(kind.id), kind]));
    this.count = Math.floor(buffer.byteLength / POINT);
    this.#sort(new Uint32Array(buffer, 0, 3 * this.count), new Float32Array(buffer, 0, 3 * this.count));
  }

  #sort(whole, real) {
    const { count: n } = this;
    const kindAt = new Uint32Array(n); // 0: none that has a name
    for (const { id, start, count } of this.kinds) kindAt.fill(Number(id), start, start + count);
    this.ids = new Uint32Array(n);
    this.kindOf = new Uint32Array(n);
    this.places = new Float32Array(2 * n);
    this.starts = new Uint32Array(TILES * TILES + 1);
    for (let i = 0; i < n; i += 1) this.starts[tileOf(real[3 * i + 1], real[3 * i + 2]) + 1] += 1;
    for (let tile = 0; tile < TILES * TILES; tile += 1) this.starts[tile + 1] += this.starts[tile];
    const free = this.starts.slice(0, -1);
    this.byRow = new Uint32Array(n); // the points of each row of tiles, as if shuffled
    this.rowStarts = Uint32Array.from({ length: TILES + 1 }, (_, row) => this.starts[row * TILES]);
    const freeInRow = this.rowStarts.slice(0, -1);
    const step = coprime(Math.round(n * 0.618034), n);
    for (let turn = 0, i = 0; turn < n; turn += 1, i = (i + step) % n) {
      const [x, y] = [real[3 * i + 1], real[3 * i + 2]];
      const tile = tileOf(x, y);
      const at = free[tile];
      free[tile] += 1;
      this.ids[at] = whole[3 * i];
      this.kindOf[at] = kindAt[i];
      this.places[2 * at] = x;
      this.places[2 * at + 1] = y;
      const row = Math.floor(tile / TILES);
      this.byRow[freeInRow[row]] = at;
      freeInRow[row] += 1;
    }
  }

  /** The tiles that a rectangle [left, low, right, high] touches, row by row: [first, after the last]. */
  rows([left, low, right, high]) {
    const from = cell(left);
    const to = cell(right);
    const rows = [];
    for (let row = cell(low); row <= cell(high); row += 1) rows.push([row * TILES + from, row * TILES + to + 1]);
    return rows;
  }

  /** A share of the points in the rows of tiles that a rectangle touches, as ranges [from, to] of `byRow`. */
  someRows([, low, , high], share) {
    const ranges = [];
    for (let row = cell(low); row <= cell(high); row += 1) {
      const from = this.rowStarts[row];
      ranges.push([from, from + Math.ceil(share * (this.rowStarts[row + 1] - from))]);
    }
    return ranges;
  }

  /** About how many points a rectangle shows. */
  countIn(box) {
    return this.rows(box).reduce((sum, [first, last]) => sum + this.starts[last] - this.starts[first], 0);
  }

  /** Every point in the tiles of a rectangle, as `each(index)`. */
  every(box, each) {
    for (const [first, last] of this.rows(box)) {
      for (let i = this.starts[first]; i < this.starts[last]; i += 1) each(i);
    }
  }

  /** The point nearest to a place, no farther than `reach`; -1 if there is none. */
  nearest(x, y, reach) {
    let best = -1;
    let least = reach * reach;
    this.every([x - reach, y - reach, x + reach, y + reach], (i) => {
      const away = (this.places[2 * i] - x) ** 2 + (this.places[2 * i + 1] - y) ** 2;
      if (away <= least) {
        least = away;
        best = i;
      }
    });
    return best;
  }

  /** Which points are within a polygon [x, y, x, y, ...]: 1 or 0 for each. */
  inside(area) {
    const marks = new Uint8Array(this.count);
    const xs = area.filter((_, i) => i % 2 === 0);
    const ys = area.filter((_, i) => i % 2 === 1);
    this.every([Math.min(...xs), Math.min(...ys), Math.max(...xs), Math.max(...ys)], (i) => {
      marks[i] = Number(holds(xs, ys, this.places[2 * i], this.places[2 * i + 1]));
    });
    return marks;
  }

  /** The ids of the pictures within a polygon, in order. */
  within(area) {
    const marks = this.inside(area);
    return [...this.ids.filter((_, i) => marks[i])].sort((one, other) => one - other);
  }
}

const cell = (place) => Math.min(TILES - 1, Math.max(0, Math.floor(((place + 1) / 2) * TILES)));

const tileOf = (x, y) => cell(y) * TILES + cell(x);

function coprime(step, n) {
  const common = (a, b) => (b ? common(b, a % b) : a);
  let own = Math.max(1, step);
  while (n > 1 && common(own, n) > 1) own += 1;
  return own;
}

/** Whether a polygon has a place inside: a ray from it crosses an odd number of edges. */
function holds(xs, ys, x, y) {
  let odd = false;
  for (let i = 0, j = xs.length - 1; i < xs.length; j = i, i += 1) {
    if (ys[i] > y !== ys[j] > y && x < xs[i] + ((y - ys[i]) / (ys[j] - ys[i])) * (xs[j] - xs[i])) odd = !odd;
  }
  return odd;
}

let loaded = null;

/** The map as the server has it now; the points again only if it is another. */
export async function loadMap(signal, progress) {
  const known = await api.map(signal, progress);
  if (loaded?.version !== known.version) {
    const data = api.mapPoints(known.version).then((buffer) => new MapData(known, buffer));
    loaded = { version: known.version, data };
    data.catch(() => (loaded = null));
  }
  return loaded.data;
}

/** The corners of a line that was drawn, [[x, y], ...]: as few as keep its shape within `most`. */
export function simplified(line, most) {
  for (let reach = 1; ; reach *= 1.5) {
    const corners = thinned(line, reach);
    if (corners.length <= most) return corners;
  }
}

function thinned(line, reach) {
  if (line.length < 3) return line;
  const [first, last] = [line[0], line.at(-1)];
  let far = 0;
  let at = 0;
  for (let i = 1; i < line.length - 1; i += 1) {
    const away = distance(line[i], first, last);
    if (away > far) [far, at] = [away, i];
  }
  if (far <= reach) return [first, last];
  return [...thinned(line.slice(0, at + 1), reach).slice(0, -1), ...thinned(line.slice(at), reach)];
}

function distance([x, y], [ax, ay], [bx, by]) {
  const length = Math.hypot(bx - ax, by - ay);
  return length ? Math.abs((bx - ax) * (ay - y) - (ax - x) * (by - ay)) / length : Math.hypot(x - ax, y - ay);
}
