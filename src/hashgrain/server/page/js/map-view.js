// Where one looks on the map, and how pointers, wheel and keys move it.

const MARGIN = 0.94; // of the window that the whole map fills
const CLOSEST = 400; // times as large as the whole map
const FARTHEST = 0.6;
const STILL = 5; // pixels that a click may shake
const STEP = 60; // pixels a key goes
const ZOOM = 1.4; // times a key or a button zooms

/** Maps places (-1 to 1, y upwards) to pixels of an element (y downwards) and back. */
export class View {
  constructor() {
    this.width = 1;
    this.height = 1;
    this.x = 0;
    this.y = 0;
    this.near = 1; // times as large as the whole
  }

  get scale() {
    return (this.near * MARGIN * Math.min(this.width, this.height)) / 2;
  }

  get box() {
    const [wide, tall] = [this.width / 2 / this.scale, this.height / 2 / this.scale];
    return [this.x - wide, this.y - tall, this.x + wide, this.y + tall];
  }

  toPixels(x, y) {
    return [this.width / 2 + (x - this.x) * this.scale, this.height / 2 - (y - this.y) * this.scale];
  }

  toPlace(left, top) {
    return [this.x + (left - this.width / 2) / this.scale, this.y - (top - this.height / 2) / this.scale];
  }

  pan(dx, dy) {
    const within = (value) => Math.min(1.1, Math.max(-1.1, value));
    this.x = within(this.x - dx / this.scale);
    this.y = within(this.y + dy / this.scale);
  }

  /** Zoom so that what is at a pixel stays there. */
  zoom(times, left = this.width / 2, top = this.height / 2) {
    const [x, y] = this.toPlace(left, top);
    this.near = Math.min(CLOSEST, Math.max(FARTHEST, this.near * times));
    const [nowX, nowY] = this.toPlace(left, top);
    this.x += x - nowX;
    this.y += y - nowY;
    this.pan(0, 0);
  }

  whole() {
    [this.x, this.y, this.near] = [0, 0, 1];
  }
}

/**
 * Listen to an element. `on` has: lassoing() -> whether a drag draws; moved(); drew(line, done); clicked(left, top, target);
 * hovered(left, top) or hovered(null).
 */
export function gestures(element, view, on) {
  const pointers = new Map();
  let line = null;
  let start = null;

  const at = (event) => {
    const { left, top } = element.getBoundingClientRect();
    return [event.clientX - left, event.clientY - top];
  };

  element.addEventListener('pointerdown', (event) => {
    if (event.button !== 0 || event.target.closest('button')) return;
    pointers.set(event.pointerId, at(event));
    start = pointers.size === 1 ? { place: at(event), target: event.target, still: true } : null;
    line = pointers.size === 1 && (on.lassoing() || event.shiftKey) ? [at(event)] : null;
    if (pointers.size === 2) on.drew(null, false);
    on.hovered(null);
    if (line) event.preventDefault();
  });

  element.addEventListener('pointermove', (event) => {
    const here = at(event);
    const before = pointers.get(event.pointerId);
    if (!before) {
      if (event.pointerType === 'mouse') on.hovered(...here);
      return;
    }
    if (start && Math.hypot(here[0] - start.place[0], here[1] - start.place[1]) > STILL && start.still) {
      start.still = false;
      element.setPointerCapture(event.pointerId); // not before: a click is to reach what is below it
    }
    if (start?.still) return;
    if (line) {
      line.push(here);
      on.drew(line, false);
    } else if (pointers.size === 2) pinch(event.pointerId, before, here);
    else view.pan(here[0] - before[0], here[1] - before[1]);
    pointers.set(event.pointerId, here);
    if (!line) on.moved();
  });

  /** Two fingers: their middle moves the map, their distance zooms it. */
  function pinch(id, before, here) {
    const [other] = [...pointers].filter(([each]) => each !== id).map(([, place]) => place);
    const middle = (place) => [(place[0] + other[0]) / 2, (place[1] + other[1]) / 2];
    const apart = (place) => Math.max(10, Math.hypot(place[0] - other[0], place[1] - other[1]));
    const [from, to] = [middle(before), middle(here)];
    view.pan(to[0] - from[0], to[1] - from[1]);
    view.zoom(apart(here) / apart(before), ...to);
  }

  const end = (event) => {
    if (!pointers.delete(event.pointerId)) return;
    if (event.type === 'pointerup' && start?.still) on.clicked(...start.place, start.target);
    else if (line) on.drew(event.type === 'pointerup' ? line : null, true);
    line = null;
    start = null;
  };
  element.addEventListener('pointerup', end);
  element.addEventListener('pointercancel', end);
  element.addEventListener('pointerleave', () => on.hovered(null));

  element.addEventListener('wheel', (event) => {
    event.preventDefault();
    const lines = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? 16 : 1;
    view.zoom(Math.exp(-event.deltaY * lines * (event.ctrlKey ? 0.01 : 0.0016)), ...at(event));
    on.moved();
  }, { passive: false });
}

/** Move the view as a key says; whether it says anything. */
export function keyed(event, view) {
  if (event.ctrlKey || event.metaKey || event.altKey) return false;
  const acts = {
    ArrowLeft: () => view.pan(STEP, 0),
    ArrowRight: () => view.pan(-STEP, 0),
    ArrowUp: () => view.pan(0, STEP),
    ArrowDown: () => view.pan(0, -STEP),
    '+': () => view.zoom(ZOOM),
    '=': () => view.zoom(ZOOM),
    '-': () => view.zoom(1 / ZOOM),
    0: () => view.whole(),
  };
  acts[event.key]?.();
  return event.key in acts;
}

export { ZOOM };
