// What is said of a hit: its name, word and score, and the box that matched.

import { html, svg } from '../vendor/lit.js';
import { t, tOr } from './texts.js';

export const nameOf = ({ path }) => path.split(/[\\/!]/).pop() || path;

export const wordText = ({ word }) => (word ? tOr(`word.${word}`, word) : '');

export const scoreText = ({ score }) => (Math.floor(score * 100) / 100).toFixed(2);

export const grainText = (name) => tOr(`grain.${name}`, name);

/** What a kind or a thing is called; its number where the model has no word for it. */
export function groupName({ id, name }) {
  return name ? name.charAt(0).toLocaleUpperCase() + name.slice(1) : t('browse.unnamed', { number: id });
}

/** A box over a picture, seen on light and on dark. */
export const boxRect = ([left, top, right, bottom]) => html`<svg class="match" aria-hidden="true" preserveAspectRatio="none" viewBox="0 0 1 1">
  ${[0, 1].map((over) => svg`<rect class=${over ? 'over' : 'under'} x=${left} y=${top} width=${right - left} height=${bottom - top}></rect>`)}</svg>`;

/** What the server refused, in words that say what to do. */
export function problemText(problem) {
  if (problem.code === 'upload_gone') return t('problem.gone');
  const known = { 0: 'problem.offline', 401: 'problem.token', 413: 'problem.large', 415: 'problem.kind', 429: 'problem.busy', 503: 'problem.busy' };
  const text = known[problem.status] ? t(known[problem.status]) : problem.status >= 500 ? t('problem.server') : '';
  return [text, problem.status === 0 || problem.status === 401 ? '' : problem.message].filter(Boolean).join(' ');
}
