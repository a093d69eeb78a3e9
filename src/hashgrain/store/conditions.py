"""What a filter means: its tree, and the tree as an SQL condition whose values are all bound parameters."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from hashgrain.errors import FilterError

Value = str | int | float | bool
Bind = Callable[[Any], str]


@dataclass(frozen=True)
class Column:
    """A built-in field: its name, what it holds, and how SQL says it. Paths are bytes, see the catalogue."""

    name: str
    holds: Literal["number", "text", "path"]
    sql: str


@dataclass(frozen=True)
class Key:
    """A metadata key, as SQLite's JSON path."""

    path: str


BUILT_IN = {
    column.name: column
    for column in (
        Column("id", "number", "id"),
        Column("path", "path", "path"),
        Column("name", "path", "name"),
        Column("width", "number", "width"),
        Column("height", "number", "height"),
        Column("format", "text", "format"),
        Column("taken", "text", "taken"),
        Column("added", "text", "added"),
        Column("size", "number", "size"),
        Column("content", "text", "lower(hex(content))"),
    )
}
HELP = f"Fields: {', '.join(BUILT_IN)}; any other name is a metadata key (label, camera.model, `odd key`, meta.width)."


@dataclass(frozen=True)
class OneOf:
    field: Column | Key
    values: tuple[Value, ...]


@dataclass(frozen=True)
class Compared:
    field: Column | Key
    operator: str
    value: Value | Column


@dataclass(frozen=True)
class Like:
    field: Column | Key
    pattern: str


@dataclass(frozen=True)
class IsNull:
    field: Column | Key


@dataclass(frozen=True)
class Not:
    term: Test


@dataclass(frozen=True)
class Joined:
    word: Literal["AND", "OR"]
    terms: tuple[Test, ...]


Test = OneOf | Compared | Like | IsNull | Not | Joined


# ---- from the tree to SQL


def as_sql(test: Test, bind: Bind) -> str:
    match test:
        case Not(term):
            return f"(NOT {as_sql(term, bind)})"
        case Joined(word, terms):
            return _balanced(word, [as_sql(term, bind) for term in terms])
        case IsNull(Column(sql=sql)):
            return f"({sql} IS NULL)"
        case IsNull(Key(path)):
            return f"(coalesce(json_type(meta, {bind(path)}), 'null') = 'null')"
        case OneOf(Column() as column, values):
            return f"({column.sql} IN ({', '.join(bind(_bound(column, value)) for value in values)}))"
        case OneOf(Key() as key, values):
            return _one_of_key(key, values, bind)
        case Compared(Column() as column, operator, Column() as other):
            return f"({column.sql} {operator} {other.sql})"
        case Compared(Column() as column, operator, (str() | int() | float()) as value):
            return f"({column.sql} {operator} {bind(_bound(column, value))})"
        case Compared(Key() as key, operator, value):
            types = ["text"] if isinstance(value, str) else ["integer", "real"]
            bound = bind(value)
            return _by_type(key, bind, lambda found: dict.fromkeys(types, f"{found} {operator} {bound}"))
        case Like(Column(holds="path") as column, pattern):
            return f"(CAST({column.sql} AS TEXT) LIKE CAST({bind(os.fsencode(pattern))} AS TEXT))"
        case Like(Column() as column, pattern):
            return f"({column.sql} LIKE {bind(pattern)})"
        case Like(Key() as key, pattern):
            return _by_type(key, bind, lambda found: {"text": f"{found} LIKE {bind(pattern)}"})
    raise AssertionError(test)


def _balanced(word: str, parts: Sequence[str]) -> str:
    """Joined as a tree of halves: SQLite refuses chains of a thousand, but not their halves' halves."""
    if len(parts) == 1:
        return parts[0]
    middle = len(parts) // 2
    return f"({_balanced(word, parts[:middle])} {word} {_balanced(word, parts[middle:])})"


def _one_of_key(key: Key, values: Sequence[Value], bind: Bind) -> str:
    texts = [value for value in values if isinstance(value, str)]
    numbers = [value for value in values if not isinstance(value, (str, bool))]
    flags = [value for value in values if isinstance(value, bool)]

    def cases(found: str) -> dict[str, str]:
        number = f"{found} IN ({', '.join(bind(value) for value in numbers)})"
        text = f"{found} IN ({', '.join(bind(value) for value in texts)})"
        flag = {str(value).lower(): str(int(value in flags)) for value in (True, False)}
        return {"integer": number, "real": number, "text": text, **flag}

    return _by_type(key, bind, cases)


def _by_type(key: Key, bind: Bind, cases: Callable[[str], Mapping[str, str]]) -> str:
    """A condition on metadata that looks at its type first: null stays unknown, other types give false."""
    path = bind(key.path)
    tests = cases(f"json_extract(meta, {path})")
    branches = " ".join(f"WHEN '{kind}' THEN {sql}" for kind, sql in tests.items())
    return f"(CASE coalesce(json_type(meta, {path}), 'null') WHEN 'null' THEN NULL {branches} ELSE 0 END)"


def _bound(column: Column, value: Value) -> Value | bytes:
    return os.fsencode(value) if column.holds == "path" and isinstance(value, str) else value


# ---- from a mapping to the tree


def from_mapping(where: Mapping[str, Any]) -> Test:
    """{"label": 3, "format": "jpeg"}: all must be equal; None asks for missing, a list for one of several."""
    terms: list[Test] = []
    for name, wanted in where.items():
        if not isinstance(name, str):
            raise FilterError(f"where: a field is named by text, not {name!r}. {HELP}")
        try:
            field = field_of(name.split("."))
            if wanted is None:
                terms.append(IsNull(field))
            else:
                several = wanted if isinstance(wanted, (list, tuple, set, frozenset)) else [wanted]
                terms.append(OneOf(field, tuple(fit(field, plain(value)) for value in several)))
        except ValueError as error:
            raise FilterError(f"where: {name}: {error}. {HELP}") from None
    return Joined("AND", tuple(terms)) if terms else Not(IsNull(BUILT_IN["id"]))


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


# ---- what both forms share; a ValueError here becomes a FilterError that says where


def field_of(parts: Sequence[str]) -> Column | Key:
    if len(parts) == 1 and parts[0] in BUILT_IN:
        return BUILT_IN[parts[0]]
    keys = parts[1:] if parts[0] == "meta" and len(parts) > 1 else parts
    for key in keys:
        if not key or re.search(r'["\\\x00-\x1f\ud800-\udfff]', key):
            raise ValueError(f"the metadata key {key!r} is empty or has a character no filter can name")
    return Key("$" + "".join(f'."{key}"' for key in keys))


def fit(field: Column | Key, value: Value) -> Value:
    """The value, if such a field can ever hold one like it."""
    path = isinstance(field, Column) and field.holds == "path"
    if isinstance(value, str):
        try:
            os.fsencode(value) if path else value.encode()
        except UnicodeEncodeError:
            raise ValueError(f"{value!r} holds half a character") from None
    holds = "a number" if isinstance(field, Column) and field.holds == "number" else "text"
    if isinstance(field, Column) and _kind(value) != holds:
        raise ValueError(f"{field.name} is {holds}, not {_kind(value)}")
    return value


def _kind(value: Value) -> str:
    return "text" if isinstance(value, str) else "true or false" if isinstance(value, bool) else "a number"
