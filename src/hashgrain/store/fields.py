"""The fields of a filter: what each holds, its SQL expression, and the values it can be compared with."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

Value = str | int | float | bool


@dataclass(frozen=True)
class Column:
    """A built-in field: its name, what it holds, and its SQL expression. Paths are bytes, see the catalogue."""

    name: str
    holds: Literal["number", "text", "path", "date", "list"]
    sql: str


@dataclass(frozen=True)
class Key:
    """A metadata key: the names on the path to it."""

    parts: tuple[str, ...]

    @property
    def path(self) -> str:
        """The key in the syntax of SQLite's JSON functions."""
        return "$" + "".join(f'."{part}"' for part in self.parts)


def _part_of_date(name: str, start: int, length: int) -> Column:
    return Column(name, "number", f"CAST(substr(taken, {start}, {length}) AS INTEGER)")


def _detail(name: str, holds: Literal["number", "text"]) -> Column:
    return Column(name, holds, f"json_extract(details, '$.{name}')")


KEYWORDS_SQL = "json_extract(details, '$.keywords')"
BUILT_IN = {
    column.name: column
    for column in (
        Column("id", "number", "id"),
        Column("path", "path", "path"),
        Column("name", "path", "name"),
        Column("width", "number", "nullif(width, 0)"),
        Column("height", "number", "nullif(height, 0)"),
        Column("format", "text", "format"),
        Column("taken", "date", "taken"),
        Column("added", "date", "added"),
        Column("size", "number", "size"),
        Column("content", "text", "lower(hex(content))"),
        _part_of_date("year", 1, 4),
        _part_of_date("month", 6, 2),
        _part_of_date("day", 9, 2),
        _detail("camera", "text"),
        _detail("lens", "text"),
        _detail("iso", "number"),
        _detail("focal_length", "number"),
        _detail("latitude", "number"),
        _detail("longitude", "number"),
        _detail("rating", "number"),
        Column("keywords", "list", KEYWORDS_SQL),
    )
}
# Fields added later: older libraries may have metadata keys with these names.
NEWER = frozenset(BUILT_IN) - {"id", "path", "name", "width", "height", "format", "taken", "added", "size", "content"}
HELP = f"Fields: {', '.join(BUILT_IN)}; any other name is a metadata key (label, camera.model, `odd key`, meta.width)."
# A date with any number of its parts. Days are not checked against months: cameras write the 31st of June.
DATE = re.compile(
    r"\d{4}(?:-(?:0[1-9]|1[0-2])(?:-(?:0[1-9]|[12]\d|3[01])(?:[T ](?:[01]\d|2[0-3])(?::[0-5]\d(?::[0-6]\d)?)?)?)?)?Z?"
)


# ---- a ValueError here becomes a FilterError that says where


def field_of(parts: Sequence[str]) -> Column | Key:
    if len(parts) == 1 and parts[0] in BUILT_IN:
        return BUILT_IN[parts[0]]
    if len(parts) == 2 and parts[0] == "file" and parts[1] in NEWER:
        return replace(BUILT_IN[parts[1]], name=f"file.{parts[1]}")
    keys = parts[1:] if parts[0] == "meta" and len(parts) > 1 else parts
    for key in keys:
        if not key or re.search(r'["\\\x00-\x1f\ud800-\udfff]', key):
            raise ValueError(f"the metadata key {key!r} is empty or has a character no filter can name")
    return Key(tuple(keys))


def plain(value: object) -> Value:
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        return value if -(2**63) <= value < 2**63 else float(value) if abs(value) < 2**1000 else math.inf
    if isinstance(value, str) or (isinstance(value, float) and not math.isnan(value)):
        return value
    raise ValueError(f"{value!r} cannot be compared; give text, a number, true or false, or None")


def fit(field: Column | Key, value: Value) -> Value:
    """The value in the form in which this field is compared; ValueError if the field cannot hold such a value."""
    holds = field.holds if isinstance(field, Column) else "anything"
    if isinstance(value, str):
        try:
            os.fsencode(value) if holds == "path" else value.encode()
        except UnicodeEncodeError:
            raise ValueError(f"{value!r} holds half a character") from None
    if holds == "anything":
        return value
    assert isinstance(field, Column)
    if holds == "date":
        return _date(field, value)
    wanted = "a number" if holds == "number" else "text"
    if _kind(value) != wanted:
        raise ValueError(f"{field.name} is {wanted}, not {_kind(value)}")
    return value


def _date(field: Column, value: Value) -> str:
    text = f"{value:04}" if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 9999 else value
    if isinstance(text, str) and DATE.fullmatch(text):
        return text.replace(" ", "T").removesuffix("Z")
    shown = repr(value) if isinstance(value, str) else _kind(value)
    raise ValueError(f"{field.name} is a date, such as 2021, 2021-05, 2021-05-31 or 2021-05-31T12:30, not {shown}")


def _kind(value: Value) -> str:
    return "text" if isinstance(value, str) else "true or false" if isinstance(value, bool) else "a number"
