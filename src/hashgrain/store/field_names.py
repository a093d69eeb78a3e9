"""Names in a filter that no item of a library has are mistakes, and some mean two things: both are refused, with
what to write instead."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from hashgrain.errors import FilterError
from hashgrain.store.conditions import Test, fields_of
from hashgrain.store.fields import BUILT_IN, NEWER, Column, Key

Ask = Callable[[str, Sequence[Any]], list[tuple[Any, ...]]]  # one question to the catalogue
THERE = "SELECT EXISTS (SELECT 1 FROM items WHERE json_type(meta, ?) IS NOT NULL), EXISTS (SELECT 1 FROM items)"
NAMES = (
    "SELECT DISTINCT inside.key FROM items, json_each(items.meta, ?) AS inside"
    " WHERE typeof(inside.key) = 'text' AND json_type(items.meta, ?) = 'object' LIMIT 1000"
)
MOST_NEAR, MOST_SHOWN = 3, 40


def refuse_unclear(test: Test, ask: Ask) -> None:
    """FilterError where a metadata key is on no item at all, or a name means a field and a metadata key as well.

    An empty library knows no names and refuses none. A key that is there is found at the first item that has it; only
    one that is not costs a look at every item.
    """
    for field in dict.fromkeys(fields_of(test)):
        if isinstance(field, Column) and field.name not in NEWER:
            continue
        key = Key((field.name,)) if isinstance(field, Column) else field
        ((there, any_items),) = ask(THERE, (key.path,))
        if isinstance(field, Column) and there:
            raise FilterError(
                f"where: {field.name!r} is unclear here, since pictures have metadata of that name:"
                f" write meta.{field.name} for it, or file.{field.name} for what the file says"
            )
        if isinstance(field, Key) and any_items and not there:
            raise FilterError(f"where: no picture here has {written(key.parts)!r}; {_instead(key, ask)}")


def _instead(key: Key, ask: Ask) -> str:
    """What was perhaps meant: the last part of the name is what is compared, the rest being there."""
    above, names = _names_beside(key, ask)
    known = [(name, written((*above, name))) for name in names]
    known += [] if above else [(name, name) for name in BUILT_IN]
    from difflib import get_close_matches  # for a mistake only

    wanted = get_close_matches(key.parts[len(above)].casefold(), {name.casefold() for name, _ in known}, MOST_NEAR)
    near = [shown for one in wanted for name, shown in known if name.casefold() == one]
    if near:
        return f"did you mean {' or '.join(near)}?"
    return f"there is {', '.join(shown for _, shown in known[:MOST_SHOWN])}{', ...' if known[MOST_SHOWN:] else ''}"


def _names_beside(key: Key, ask: Ask) -> tuple[tuple[str, ...], list[str]]:
    """How far the parts of a key lead, and the names to be found there."""
    for length in range(len(key.parts) - 1, 0, -1):
        above = Key(key.parts[:length])
        if names := ask(NAMES, (above.path, above.path)):
            return above.parts, sorted(name for (name,) in names)
    return (), sorted(name for (name,) in ask(NAMES, ("$", "$")))


def written(parts: Sequence[str]) -> str:
    """The names as a filter takes them."""
    quoted = [part if re.fullmatch(r"[^\W\d]\w*", part) else f"`{part}`" for part in parts]
    shadowed = len(parts) == 1 and parts[0] in BUILT_IN
    return ".".join(["meta", *quoted] if shadowed else quoted)
