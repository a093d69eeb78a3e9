// Light, dark, or as the system says.

import { preference, setPreference } from './prefs.js';

export const THEMES = Object.freeze(['auto', 'light', 'dark']);

export const theme = () => (THEMES.includes(preference('theme')) ? preference('theme') : 'auto');

export function showTheme(name = theme()) {
  setPreference('theme', name === 'auto' ? null : name);
  document.documentElement.dataset.theme = name;
}

export const nextTheme = () => showTheme(THEMES[(THEMES.indexOf(theme()) + 1) % THEMES.length]);
