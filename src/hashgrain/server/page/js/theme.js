// Light, dark, or as the system says.

const KEPT = 'hashgrain.theme';
const THEMES = ['auto', 'light', 'dark'];

export const theme = () => (THEMES.includes(localStorage.getItem(KEPT)) ? localStorage.getItem(KEPT) : 'auto');

export function showTheme() {
  document.documentElement.dataset.theme = theme();
}

export function nextTheme() {
  localStorage.setItem(KEPT, THEMES[(THEMES.indexOf(theme()) + 1) % THEMES.length]);
  showTheme();
}
