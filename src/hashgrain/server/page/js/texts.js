// The texts of the page: one JSON file a language, with the same keys.

import { preference, setPreference } from './prefs.js';

export const LANGUAGES = Object.freeze({ en: 'English', zh: '中文' });

let language = 'en';
let texts = {};
let plural = new Intl.PluralRules('en');
let whole = new Intl.NumberFormat('en');

/** What was chosen before, or else the first language of the browser that there is. */
export function preferred() {
  const wished = [preference('language'), ...navigator.languages].filter(Boolean);
  return wished.map((each) => each.slice(0, 2).toLowerCase()).find((each) => each in LANGUAGES) ?? 'en';
}

/** Load a language. With `keep`, it is used the next time too. */
export async function speak(name, { keep = false } = {}) {
  const answer = await fetch(`static/texts/${name}.json`);
  texts = await answer.json();
  language = name;
  plural = new Intl.PluralRules(name);
  whole = new Intl.NumberFormat(name);
  if (keep) setPreference('language', name);
  document.documentElement.lang = name === 'zh' ? 'zh-CN' : name;
}

export const spoken = () => language;

export const count = (number) => whole.format(number);

/** A text by its key. `n` chooses between `key.one` and `key.other`; {name} is filled in. */
export function t(key, values = {}) {
  const form = values.n === undefined ? key : `${key}.${plural.select(values.n)}`;
  const text = texts[form] ?? texts[`${key}.other`] ?? texts[key] ?? key;
  return text.replace(/\{(\w+)\}/g, (_, name) => {
    const value = values[name];
    return typeof value === 'number' ? whole.format(value) : (value ?? '');
  });
}

/** The text of a key that may be missing, such as the name of a grain of somebody's own model. */
export const tOr = (key, otherwise) => texts[key] ?? otherwise;

export const date = (iso) => {
  const when = new Date(iso);
  return Number.isNaN(when.getTime()) ? iso : when.toLocaleString(language, { dateStyle: 'medium', timeStyle: 'short' });
};

export function bytes(number) {
  const units = ['B', 'kB', 'MB', 'GB'];
  const step = Math.min(units.length - 1, number > 0 ? Math.floor(Math.log10(number) / 3) : 0);
  return `${new Intl.NumberFormat(language, { maximumSignificantDigits: 3 }).format(number / 1000 ** step)} ${units[step]}`;
}

export const percent = (share) => `${Math.round(100 * share)} %`;
