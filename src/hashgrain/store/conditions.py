"""The tree of a filter, and its translation to an SQL condition in which every value is a bound parameter."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from hashgrain.errors import FilterError
from hashgrain.store.fields import BUILT_IN, HELP, Column, Key, Value, field_of, fit, plain

Bind = Callable[[Any], str]
BRANCHES = 8  # of each knot of a tree
MANY = 500  # values that are bound together, as one list


@dataclass(frozen=True)
class OneOf:
    field: Column | Key
    values: tuple[Value, ...]


@dataclass(frozen=True)
class Comparison:
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
    term: Condition


@dataclass(frozen=True)
class BoolOp:
    operator: Literal["AND", "OR"]
    terms: tuple[Condition, ...]


Condition = OneOf | Comparison | Like | IsNull | Not | BoolOp


# ---- from the tree to SQL


def as_sql(condition: Condition, bind: Bind) -> str:
    match condition:
        case Not(term):
            return f"(NOT {as_sql(term, bind)})"
        case BoolOp(operator, terms):
            return _balanced(operator, [as_sql(term, bind) for term in terms])
        case IsNull(Column(sql=sql)):
            return f"({sql} IS NULL)"
        case IsNull(Key() as key):
            return f"(coalesce(json_type(meta, {bind(key.path)}), 'null') = 'null')"
        case OneOf(Column(holds="list") as column, values):
            return _any_in(column, f"value IN ({', '.join(map(bind, values))})")
        case OneOf(Column(holds="date") as column, values) if values:
            return _balanced("OR", [_compare_dates(column, "=", bind(value)) for value in values])
        case OneOf(Column(name="id"), values) if len(values) > MANY:
            return f"(id IN (SELECT value FROM json_each({bind(json.dumps(values))})))"
        case OneOf(Column() as column, values):
            return f"({column.sql} IN ({', '.join(bind(_bound(column, value)) for value in values)}))"
        case OneOf(Key() as key, values):
            return _one_of_key(key, values, bind)
        case Comparison(Column() as column, operator, Column() as other):
            return f"({column.sql} {operator} {other.sql})"
        case Comparison(Column(holds="date") as column, operator, value):
            return _compare_dates(column, operator, bind(value))
        case Comparison(Column() as column, operator, (str() | int() | float()) as value):
            return f"({column.sql} {operator} {bind(_bound(column, value))})"
        case Comparison(Key() as key, operator, value):
            types = ["text"] if isinstance(value, str) else ["integer", "real"]
            bound = bind(value)
            return _by_type(key, bind, lambda sql_value: dict.fromkeys(types, f"{sql_value} {operator} {bound}"))
        case Like(Column(holds="path") as column, pattern):
            return f"(CAST({column.sql} AS TEXT) LIKE CAST({bind(os.fsencode(pattern))} AS TEXT))"
        case Like(Column(holds="list") as column, pattern):
            return _any_in(column, f"value LIKE {bind(pattern)}")
        case Like(Column() as column, pattern):
            return f"({column.sql} LIKE {bind(pattern)})"
        case Like(Key() as key, pattern):
            bound = bind(pattern)
            return _by_type(key, bind, lambda sql_value: {"text": f"{sql_value} LIKE {bound}"}, lists=True)
    raise AssertionError(condition)


def _balanced(operator: str, parts: Sequence[str]) -> str:
    """Join conditions as a balanced tree: SQLite refuses a chain of a thousand and a hundred nested brackets."""
    if len(parts) == 1:
        return parts[0]
    share = -(-len(parts) // BRANCHES)
    shares = [_balanced(operator, parts[start : start + share]) for start in range(0, len(parts), share)]
    return f"({f' {operator} '.join(shares)})"


def _compare_dates(column: Column, operator: str, bound: str) -> str:
    """Compare as many characters as the given date has: every date in May 2021 equals 2021-05, and none is after it."""
    return f"(substr({column.sql}, 1, length({bound})) {operator} {bound})"


def _any_in(column: Column, condition: str) -> str:
    """Whether the condition holds for any entry of a list; unknown if there is no list."""
    entries = f"SELECT 1 FROM json_each({column.sql}) WHERE json_each.{condition}"
    return f"(CASE WHEN {column.sql} IS NULL THEN NULL ELSE EXISTS ({entries}) END)"


def _one_of_key(key: Key, values: Sequence[Value], bind: Bind) -> str:
    texts = ", ".join(bind(value) for value in values if isinstance(value, str))
    numbers = ", ".join(bind(value) for value in values if not isinstance(value, (str, bool)))
    flags = [value for value in values if isinstance(value, bool)]

    def cases(sql_value: str) -> dict[str, str]:
        number, text = f"{sql_value} IN ({numbers})", f"{sql_value} IN ({texts})"
        flag = {str(value).lower(): str(int(value in flags)) for value in (True, False)}
        return {"integer": number, "real": number, "text": text, **flag}

    return _by_type(key, bind, cases, lists=True)


def _by_type(key: Key, bind: Bind, cases: Callable[[str], Mapping[str, str]], *, lists: bool = False) -> str:
    """A condition on metadata that checks its type first: null stays unknown, other types give false. With `lists`, it
    holds for a list if it holds for any entry."""
    path = bind(key.path)
    branches = _branches(cases(f"json_extract(meta, {path})"))
    if lists:
        holds = " OR ".join(f"entry.type = '{kind}' AND {sql}" for kind, sql in cases("entry.value").items())
        branches += f" WHEN 'array' THEN EXISTS (SELECT 1 FROM json_each(meta, {path}) AS entry WHERE {holds})"
    return f"(CASE coalesce(json_type(meta, {path}), 'null') WHEN 'null' THEN NULL {branches} ELSE 0 END)"


def _branches(cases: Mapping[str, str]) -> str:
    return " ".join(f"WHEN '{kind}' THEN {sql}" for kind, sql in cases.items())


def _bound(column: Column, value: Value) -> Value | bytes:
    return os.fsencode(value) if column.holds == "path" and isinstance(value, str) else value


# ---- from a mapping to the tree


def from_mapping(where: Mapping[str, Any]) -> Condition:
    """{"label": 3, "format": "jpeg"}: all must be equal; None asks for missing, a list for one of several."""
    terms: list[Condition] = []
    for name, wanted in where.items():
        if not isinstance(name, str):
            raise FilterError(f"where: a field is named by text, not {name!r}. {HELP}")
        try:
            field = field_of(name.split("."))
            if wanted is None:
                terms.append(IsNull(field))
            else:
                values = wanted if isinstance(wanted, (list, tuple, set, frozenset)) else [wanted]
                terms.append(OneOf(field, tuple(fit(field, plain(value)) for value in values)))
        except ValueError as error:
            raise FilterError(f"where: {name}: {error}. {HELP}") from None
    return BoolOp("AND", tuple(terms)) if terms else Not(IsNull(BUILT_IN["id"]))


# ---- the fields a tree names


def fields_of(condition: Condition) -> Iterator[Column | Key]:
    match condition:
        case Not(term):
            yield from fields_of(term)
        case BoolOp(_, terms):
            for term in terms:
                yield from fields_of(term)
        case Comparison(field, _, Column() as other):
            yield from (field, other)
        case OneOf(field) | Comparison(field) | Like(field) | IsNull(field):
            yield field
