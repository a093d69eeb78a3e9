// Parts of a filter that are added and taken away by a click: its text stays what a person could type.

/** `key = 'value'`, as the filter language writes it; numbers and truths stand without quotes. */
export function clauseOf(key, value) {
  const name = /^[A-Za-z_]\w*(\.\w+)*$/.test(key) ? key : `\`${key}\``;
  if (typeof value !== 'string') return `${name} = ${value}`;
  const quote = value.includes("'") && !value.includes('"') ? '"' : "'";
  return `${name} = ${quote}${value.replaceAll(quote, quote + quote)}${quote}`;
}

/** The parts of a filter that are joined by `and` at its top, or the whole of it if an `or` stands there. */
export function clausesOf(where) {
  const parts = [];
  let depth = 0;
  let quote = '';
  let from = 0;
  let between = false;
  const text = where.trim();
  for (let i = 0; i < text.length; i += 1) {
    const each = text[i];
    if (quote) {
      if (each === quote) quote = '';
      continue;
    }
    if (each === "'" || each === '"' || each === '`') quote = each;
    else if (each === '(') depth += 1;
    else if (each === ')') depth -= 1;
    const word = depth === 0 && (i === 0 || /[\s)]/.test(text[i - 1])) ? /^(and|or|between)(?=[\s(])/i.exec(text.slice(i))?.[0].toLowerCase() : undefined;
    if (word === 'or') return [text];
    if (word === 'between') between = true;
    if (word === 'and') {
      if (between) between = false;
      else {
        parts.push(text.slice(from, i).trim());
        from = i + 3;
      }
    }
  }
  return [...parts, text.slice(from).trim()].filter(Boolean);
}

export const hasClause = (where, clause) => clausesOf(where).includes(clause);

/** The filter with a part added, or without it if it is there. */
export function toggled(where, clause) {
  const parts = clausesOf(where);
  if (parts.includes(clause)) return parts.filter((each) => each !== clause).join(' and ');
  const alone = parts.length === 1 && /\bor\b/i.test(parts[0]) ? [`(${parts[0]})`] : parts;
  return [...alone, clause].join(' and ');
}
