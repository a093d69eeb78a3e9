// What a person chose once and for all, kept by the browser.

const NAMES = ['language', 'theme', 'size', 'grain', 'keys'];

const nameOf = (name) => `hashgrain.${name}`;

export const preference = (name) => localStorage.getItem(nameOf(name));

/** Keep a choice; null forgets it. */
export function setPreference(name, value) {
  if (value === null) localStorage.removeItem(nameOf(name));
  else localStorage.setItem(nameOf(name), value);
}

export const forgetAll = () => NAMES.forEach((name) => setPreference(name, null));

/** How tall rows of pictures are, against the usual. */
export const SIZES = Object.freeze({ small: 0.66, medium: 1, large: 1.5 });

export const size = () => (preference('size') in SIZES ? preference('size') : 'medium');
