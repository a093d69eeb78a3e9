// Why a picture is kept or is a copy: the server's words, in the language of the page.

import { t, tOr } from './texts.js';

/** "most pixels: 1600 x 1200, then oldest: ..." and "fewer pixels: 800 x 600, not 1600 x 1200", each part by itself. */
export function reasonText(reason) {
  return reason.split(', then ').map(partText).join(t('reason.then'));
}

function partText(part) {
  const [, what, values] = /^([a-z ]+): (.*)$/.exec(part) ?? [];
  const name = what && tOr(`reason.${what.replaceAll(' ', '-')}`, '');
  if (!name) return part;
  const [own, other] = values.split(', not ');
  return other ? t('reason.against', { name, own, other }) : t('reason.of', { name, own });
}
