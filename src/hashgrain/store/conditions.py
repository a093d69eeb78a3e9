"""What a filter means: its tree, and the tree as an SQL condition whose values are all bound parameters."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from hashgrain.errors import FilterError
from hashgrain.store.fields import BUILT_IN, HELP, Column, Key, Value, field_of, fit, plain

Bind = Callable[[Any], str]


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
        case IsNull(Key() as key):
            return f"(coalesce(json_type(meta, {bind(key.path)}), 'null') = 'null')"
        case OneOf(Column(holds="list") as column, values):
            return _any_in(column, f"value IN ({', '.join(map(bind, values))})")
        case OneOf(Column(holds="date") as column, values) if values:
            return _balanced("OR", [_dated(column, "=", bind(value)) for value in values])
        case OneOf(Column() as column, values):
            return f"({column.sql} IN ({', '.join(bind(_bound(column, value)) for value in values)}))"
        case OneOf(Key() as key, values):
            return _one_of_key(key, values, bind)
        case Compared(Column() as column, operator, Column() as other):
            return f"({column.sql} {operator} {other.sql})"
        case Compared(Column(holds="date") as column, operator, value):
            return _dated(column, operator, bind(value))
        case Compared(Column() as column, operator, (str() | int() | float()) as value):
            return f"({column.sql} {operator} {bind(_bound(column, value))})"
        case Compared(Key() as key, operator, value):
            types = ["text"] if isinstance(value, str) else ["integer", "real"]
            bound = bind(value)
            return _by_type(key, bind, lambda found: dict.fromkeys(types, f"{found} {operator} {bound}"))
        case Like(Column(holds="path") as column, pattern):
            return f"(CAST({column.sql} AS TEXT) LIKE CAST({bind(os.fsencode(pattern))} AS TEXT))"
        case Like(Column(holds="list") as column, pattern):
            return _any_in(column, f"value LIKE {bind(pattern)}")
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


def _dated(column: Column, operator: str, bound: str) -> str:
    """Compares as far as the date is written: every moment of May equals 2021-05, and none is after it."""
    return f"(substr({column.sql}, 1, length({bound})) {operator} {bound})"


def _any_in(column: Column, condition: str) -> str:
    """Whether it holds of any entry of a list; unknown where there is no list."""
    entries = f"SELECT 1 FROM json_each({column.sql}) WHERE json_each.{condition}"
    return f"(CASE WHEN {column.sql} IS NULL THEN NULL ELSE EXISTS ({entries}) END)"


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


# ---- the fields a tree names


def fields_of(test: Test) -> Iterator[Column | Key]:
    match test:
        case Not(term):
            yield from fields_of(term)
        case Joined(_, terms):
            for term in terms:
                yield from fields_of(term)
        case Compared(field, _, Column() as other):
            yield from (field, other)
        case OneOf(field) | Compared(field) | Like(field) | IsNull(field):
            yield field
