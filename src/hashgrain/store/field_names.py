"""Checks the names in a filter. A name that no item has, or that means two things, is refused with a suggestion."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from hashgrain.errors import FilterError
from hashgrain.store.conditions import Condition, fields_of
from hashgrain.store.fields import BUILT_IN, NEWER, Column, Key, field_of

Query = Callable[[str, Sequence[Any]], list[tuple[Any, ...]]]  # one question to the catalogue
EXISTS = "SELECT EXISTS (SELECT 1 FROM items WHERE json_type(meta, ?) IS NOT NULL), EXISTS (SELECT 1 FROM items)"
NAMES = (
    "SELECT DISTINCT inside.key FROM items, json_each(items.meta, ?) AS inside"
    " WHERE typeof(inside.key) = 'text' AND json_type(items.meta, ?) = 'object' LIMIT 1000"
)
MAX_SUGGESTIONS, MAX_LISTED = 3, 40


def check_field_names(condition: Condition, query: Query) -> None:
    """FilterError if no item has a metadata key, or if a name is both a field and a metadata key.

    An empty library has no names and refuses none. The search for a key stops at the first item that has it; only a
    missing key costs a scan of all items.
    """
    for field in dict.fromkeys(fields_of(condition)):
        if isinstance(field, Column) and field.name not in NEWER:
            continue
        key = Key((field.name,)) if isinstance(field, Column) else field
        ((exists, any_items),) = query(EXISTS, (key.path,))
        if isinstance(field, Column) and exists:
            raise FilterError(
                f"where: {field.name!r} is unclear here, since pictures have metadata of that name:"
                f" write meta.{field.name} for it, or file.{field.name} for what the file says"
            )
        if isinstance(field, Key) and any_items and not exists:
            raise FilterError(f"where: no picture here has {filter_text(key.parts)!r}; {_suggestion(key, query)}")


def filter_names(query: Query) -> list[str]:
    """Every name that a filter can have, in its syntax: the built-in fields, then the keys of metadata."""
    keys = sorted(name for (name,) in query(NAMES, ("$", "$")))
    return [*BUILT_IN, *(filter_text((key,)) for key in keys if _can_be_named(key))]


def _can_be_named(key: str) -> bool:
    try:
        field_of(("meta", key))
    except ValueError:
        return False
    return "`" not in key


def _suggestion(key: Key, query: Query) -> str:
    """Names that were perhaps meant: those close to the first part of the key that does not exist."""
    parent, names = _sibling_names(key, query)
    known = [(name, filter_text((*parent, name))) for name in names]
    known += [] if parent else [(name, name) for name in BUILT_IN]
    from difflib import get_close_matches  # for a mistake only

    wanted = get_close_matches(
        key.parts[len(parent)].casefold(), {name.casefold() for name, _ in known}, MAX_SUGGESTIONS
    )
    suggestions = [shown for one in wanted for name, shown in known if name.casefold() == one]
    if suggestions:
        return f"did you mean {' or '.join(suggestions)}?"
    return f"there is {', '.join(shown for _, shown in known[:MAX_LISTED])}{', ...' if known[MAX_LISTED:] else ''}"


def _sibling_names(key: Key, query: Query) -> tuple[tuple[str, ...], list[str]]:
    """The longest prefix of a key that exists, and the names below it."""
    for length in range(len(key.parts) - 1, 0, -1):
        parent = Key(key.parts[:length])
        if names := query(NAMES, (parent.path, parent.path)):
            return parent.parts, sorted(name for (name,) in names)
    return (), sorted(name for (name,) in query(NAMES, ("$", "$")))


def filter_text(parts: Sequence[str]) -> str:
    """A metadata key in the syntax of a filter."""
    quoted = [part if re.fullmatch(r"[^\W\d]\w*", part) else f"`{part}`" for part in parts]
    shadowed = len(parts) == 1 and parts[0] in BUILT_IN
    return ".".join(["meta", *quoted] if shadowed else quoted)
