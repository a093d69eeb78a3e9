// The keys of the page: one table, which `?` lists and the page obeys.

import { html } from '../vendor/lit.js';
import { preference, setPreference } from './prefs.js';
import { t } from './texts.js';

export const KEYS = Object.freeze([
  ['/', 'words'], ['arrows', 'move'], ['Enter', 'open'], ['s', 'seek'], ['+', 'like'], ['-', 'unlike'],
  ['x', 'choose'], ['b', 'box'], ['[ ]', 'grain'], ['g', 'group'], ['f', 'filter'], ['1 – 5', 'modes'], ['← →', 'steps'],
  ['Shift arrows', 'resize'], ['Esc', 'leave'], ['n p', 'groups'],
  ['a', 'copies'], ['m', 'bar'], ['?', 'help'],
]);

const DOING = {
  '/': 'words', s: 'seek', '+': 'like', '=': 'like', '-': 'unlike', x: 'choose', b: 'box', '[': 'coarser', ']': 'finer',
  g: 'group', f: 'filter', '?': 'help', 1: 'mode', 2: 'mode', 3: 'mode', 4: 'mode', 5: 'mode', m: 'bar', n: 'nextGroup', p: 'groupBefore', a: 'copies',
};

/** Single keys can be turned off, for those who speak to their computer. */
export const keysOn = () => preference('keys') !== 'off';

export const turnKeys = (on) => setPreference('keys', on ? 'on' : 'off');

const TYPING = 'input:not([type=radio]):not([type=checkbox]):not([type=range]), textarea, select, [contenteditable]';

/** What a key event asks for, or null: not while someone types, and not with Ctrl, Alt or Meta. */
export function doing(event) {
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return null;
  if (event.target.closest?.(TYPING) || !keysOn()) return null;
  return DOING[event.key] ?? null;
}

export const keyTable = () => html`<table class="keys"><caption class="unseen">${t('help.title')}</caption><tbody>
  ${KEYS.map(([keys, act]) => html`<tr><th scope="row">${keys.split(' ').map((key) => (key === '–' ? '–' : html`<kbd>${key === 'arrows' ? '← ↑ ↓ →' : key}</kbd> `))}</th>
    <td>${t(`keys.${act}`)}</td></tr>`)}</tbody></table>`;
