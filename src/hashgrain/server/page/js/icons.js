// Small drawings on 24 x 24, in the color of the text beside them.

import { html } from '../vendor/lit.js';

const paths = {
  picture: 'M4 5h16v14H4zM4 16l5-5 4 4 3-3 4 4M15.5 9.5h.01',
  camera: 'M4 8h3.5L9 5.5h6L16.5 8H20v11H4zM12 16.5a3.2 3.2 0 1 0 0-6.4 3.2 3.2 0 0 0 0 6.4',
  search: 'M10.5 17a6.5 6.5 0 1 0 0-13 6.5 6.5 0 0 0 0 13M15.5 15.5 20 20',
  close: 'M6 6l12 12M18 6 6 18',
  plus: 'M12 6v12M6 12h12',
  minus: 'M6 12h12',
  left: 'M14.5 5.5 8 12l6.5 6.5',
  right: 'M9.5 5.5 16 12l-6.5 6.5',
  box: 'M4 9V4h5M15 4h5v5M20 15v5h-5M9 20H4v-5',
  sun: 'M12 16a4 4 0 1 0 0-8 4 4 0 0 0 0 8M12 3v2M12 19v2M3 12h2M19 12h2M5.6 5.6 7 7M17 17l1.4 1.4M18.4 5.6 17 7M7 17l-1.4 1.4',
  moon: 'M19 14.5A7.5 7.5 0 0 1 9.5 5a7.5 7.5 0 1 0 9.5 9.5',
  half: 'M12 4a8 8 0 1 0 0 16zM12 4a8 8 0 0 1 0 16',
  stack: 'M8 8h12v12H8zM16 8V4H4v12h4',
  warning: 'M12 4 3 19.5h18zM12 10v4.5M12 17h.01',
  check: 'M5.5 12.5l4.5 4.5 8.5-9.5',
  tag: 'M4 4h7.5l8.5 8.5-7.5 7.5L4 11.5zM8 8h.01',
  out: 'M14 4H5v16h9M10 12h10M16.5 8l4 4-4 4',
  trash: 'M4.5 7h15M9 7V4.5h6V7M6.5 7l1 13h9l1-13M10 10.5v6M14 10.5v6',
  undo: 'M8.5 5 4.5 9l4 4M4.5 9H14a5.5 5.5 0 0 1 0 11h-4',
  browse: 'M4 5h6v6H4zM14 5h6v6h-6zM4 15h6v4H4zM14 15h6v4h-6z',
  map: 'M6.5 9a1.5 1.5 0 1 0 0-3 1.5 1.5 0 0 0 0 3M16.5 10.5a2 2 0 1 0 0-4 2 2 0 0 0 0 4M9.5 18.5a2.5 2.5 0 1 0 0-5 2.5 2.5 0 0 0 0 5M17.5 18.5a1.5 1.5 0 1 0 0-3 1.5 1.5 0 0 0 0 3',
  activity: 'M4 13h3.5l2.5-7 4 12 2.5-5H20',
  settings: 'M4 8h9M17 8h3M4 16h3M11 16h9M15 10.2a2.2 2.2 0 1 0 0-4.4 2.2 2.2 0 0 0 0 4.4M9 18.2a2.2 2.2 0 1 0 0-4.4 2.2 2.2 0 0 0 0 4.4',
  folder: 'M3.5 6.5h6l2 2.5h9v10.5h-17z',
  lasso: 'M12 15.5c-5 0-8.5-2-8.5-5S7 5 12 5s8.5 2.4 8.5 5.5-3.5 5-8.5 5c-2 0-3.5 1-3.5 2.5S10 20.5 12 20',
  fit: 'M4 9V4h5M15 4h5v5M20 15v5h-5M9 20H4v-5M9 9h6v6H9z',
  down: 'M5.5 9.5 12 16l6.5-6.5',
  drop: 'M12 4v11M7.5 10.5 12 15l4.5-4.5M5 19h14',
};

export const icon = (name) => html`<svg class="icon" viewBox="0 0 24 24" aria-hidden="true" focusable="false">
  <path d=${paths[name]}></path></svg>`;
