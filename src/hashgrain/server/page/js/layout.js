// Rows of pictures that fill the width: arithmetic only, so that ten thousand places are known before any is drawn.

const NARROWEST = 0.5; // width to height of a place; what is outside is shown whole, with room beside it
const WIDEST = 2.6;

const aspectOf = (item) => {
  const aspect = item.width > 0 && item.height > 0 ? item.width / item.height : 1;
  return { aspect, place: Math.min(WIDEST, Math.max(NARROWEST, aspect)) };
};

/**
 * Place items in rows about `height` tall, each with room for a caption below.
 *
 * `headings` maps the number of an item to the text that stands above it, on a row of its own.
 * Returns { places: [{x, y, width, height, row, picture: {width, height}}], rows: [{y, height, from, to}], height }.
 */
export function justify(items, width, { height, gap, caption, headings = new Map(), headingHeight = 0 }) {
  const places = new Array(items.length);
  const rows = [];
  const titles = [];
  let y = 0;
  let from = 0;
  while (from < items.length) {
    if (headings.has(from)) {
      titles.push({ y, text: headings.get(from), at: from });
      y += headingHeight;
    }
    const { to, rowHeight } = nextRow(items, from, width, height, gap, headings);
    let x = 0;
    for (let i = from; i < to; i += 1) {
      const { aspect, place } = aspectOf(items[i]);
      const wide = Math.min(width, place * rowHeight);
      const picture =
        aspect >= wide / rowHeight
          ? { width: wide, height: wide / aspect }
          : { width: rowHeight * aspect, height: rowHeight };
      places[i] = { x, y, width: wide, height: rowHeight, row: rows.length, picture };
      x += wide + gap;
    }
    rows.push({ y, height: rowHeight + caption, from, to });
    y += rowHeight + caption + gap;
    from = to;
  }
  return { places, rows, titles, height: Math.max(0, y - gap) };
}

/** Where the row that begins at `from` ends, and how tall it is so that it fills the width. */
function nextRow(items, from, width, height, gap, headings) {
  let sum = 0;
  let to = from;
  while (to < items.length && (to === from || !headings.has(to))) {
    const { place } = aspectOf(items[to]);
    const room = width - gap * (to - from);
    if (to > from && (sum + place) * height >= room) {
      const tallWithout = (room + gap) / sum;
      const tallWith = room / (sum + place);
      const without = tallWithout / height < height / tallWith;
      return without ? { to, rowHeight: tallWithout } : { to: to + 1, rowHeight: tallWith };
    }
    sum += place;
    to += 1;
  }
  const fills = (width - gap * (to - from - 1)) / sum;
  return { to, rowHeight: Math.min(height, fills) }; // the last row is not blown up
}

/** The rows that touch the band from `top` to `bottom`: numbers of the first, and after the last. */
export function rowsWithin(rows, top, bottom) {
  const first = lowest(rows, (row) => row.y + row.height >= top);
  const last = lowest(rows, (row) => row.y > bottom);
  return [first, Math.max(first, last)];
}

function lowest(rows, holds) {
  let low = 0;
  let high = rows.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (holds(rows[middle])) high = middle;
    else low = middle + 1;
  }
  return low;
}

/** The item of the row above (-1) or below (+1) that is nearest to the middle of item `index`. */
export function neighbour({ places, rows }, index, step) {
  const place = places[index];
  const row = rows[place.row + step];
  if (!row) return index;
  const middle = place.x + place.width / 2;
  let best = row.from;
  for (let i = row.from; i < row.to; i += 1) {
    const away = (j) => Math.abs(places[j].x + places[j].width / 2 - middle);
    if (away(i) < away(best)) best = i;
  }
  return best;
}
