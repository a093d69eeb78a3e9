"""The values that a field has over all items, and how many items have each: what a list of tags shows."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

from hashgrain.errors import FilterError
from hashgrain.store.fields import HELP, Column, Key, Value, field_of

Query = Callable[[str, Sequence[Any]], list[tuple[Any, ...]]]
MOST = "GROUP BY 1, 2 ORDER BY 3 DESC, 2 LIMIT ?"
KIND = "CASE each.type WHEN 'real' THEN 'integer' ELSE each.type END"  # 1 and 1.0 are equal to a filter
OF_KEY = (
    f"SELECT {KIND}, each.value, count(DISTINCT items.id) FROM items, json_each(items.meta, ?) AS each"
    " WHERE json_type(items.meta, ?) <> 'object' AND each.type IN ('text', 'integer', 'real', 'true', 'false')"
)
OF_LIST = (
    "SELECT each.type, each.value, count(DISTINCT items.id) FROM items, json_each({sql}) AS each WHERE {sql} NOT NULL"
)


def values_of(names: Sequence[str], most: int, query: Query) -> list[tuple[Value, int]]:
    """The values of a field or a key of metadata with the number of items that have it, most frequent first. Of a list
    each entry counts, once for an item."""
    try:
        field = field_of(names)
    except ValueError as error:
        raise FilterError(f"{error}. {HELP}") from None
    if isinstance(field, Key):
        rows = query(f"{OF_KEY} {MOST}", (field.path, field.path, most))
    elif field.holds == "list":
        rows = query(f"{OF_LIST.format(sql=field.sql)} {MOST}", (most,))
    else:
        rows = query(f"SELECT '', {field.sql}, count(*) FROM items WHERE {field.sql} NOT NULL {MOST}", (most,))
    return [(_value(field, kind, value), count) for kind, value, count in rows]


def _value(field: Column | Key, kind: str, value: Any) -> Value:
    if kind in ("true", "false"):
        return kind == "true"
    if isinstance(value, bytes):
        return os.fsdecode(value)
    plain: Value = value
    return plain
