"""The filter language: a small safe expression, compiled to SQL in which every value is a bound parameter.

    size > 1MB and (format = 'jpeg' or name like 'IMG_%') and label not in (3, 7) and taken between 2021-05 and 2021-08

A field is one of the built-in names or else a metadata key. Dots go into nested metadata, `meta.width` is the
metadata key if a built-in has the same name, and `odd key` in backticks is a key with spaces.

A missing or null value is unknown: a comparison with it does not hold, and its `not` does not hold either. Only
`is null` matches it. Metadata of another type than the value is not equal to it (so `!=` holds) and is neither less nor
greater. true and false are values of their own, not 1 and 0. In `like`, % matches any run and _ any one character, and
the case of ASCII letters is ignored. Texts sort by code point. Columns have one type: width is a number, and comparing
it with text is an error. Dates compare as far as they are written. `=`, `in` and `like` hold for a list (keywords,
metadata) if they hold for any entry. A name that no item of the library has is an error.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from hashgrain.errors import FilterError
from hashgrain.store.conditions import BoolOp, Comparison, Condition, IsNull, Like, Not, OneOf, as_sql, from_mapping
from hashgrain.store.field_names import Query, check_field_names
from hashgrain.store.fields import HELP, Column, Key, Value, field_of, fit, plain

MAX_CHARS = 10_000
MAX_DEPTH = 50
MAX_VALUES = 10_000  # SQLite binds 32,766 in one statement
TOKEN = re.compile(
    r"""\s*(?:
    (?P<text>'(?:[^']|'')*'|"(?:[^"]|"")*")
    | (?P<date>\d{4}-\d\d(?:-\d\d(?:T\d\d(?::\d\d(?::\d\d)?)?Z?)?)?)(?![\w-])
    | (?P<number>[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?(?:\s*(?i:[kmgt]i?b)\b)?)
    | (?P<quoted>`[^`]+`)
    | (?P<word>[^\W\d]\w*)
    | (?P<sign>==|!=|<>|<=|>=|[=<>(),.])
    | (?P<end>$)
    )""",
    re.VERBOSE,
)
KEYWORDS = {"and", "or", "not", "in", "like", "between", "is", "null", "true", "false"}
EQUAL, UNEQUAL, ORDER = {"=", "=="}, {"!=", "<>"}, {"<", "<=", ">", ">="}


@dataclass(frozen=True)
class Token:
    kind: str
    text: str  # keywords in lower case
    start: int


@dataclass(frozen=True)
class Filter:
    """A parsed filter: the tree of its condition, which the store and engines evaluate."""

    condition: Condition


def parse_filter(where: str | Mapping[str, Any] | Filter) -> Filter:
    """Parse a filter; a parsed one is returned as it is. FilterError says where it does not parse."""
    if isinstance(where, Filter):
        return where
    return Filter(from_mapping(where) if isinstance(where, Mapping) else _Parser(where).parse())


def compile_filter(where: str | Mapping[str, Any] | Filter, query: Query | None = None) -> tuple[str, dict[str, Any]]:
    """An SQL condition on the items table, and its parameters. FilterError says where it does not parse.

    With `query`, which runs a query on the catalogue, names that no item has or that mean two things are refused.
    """
    condition = parse_filter(where).condition
    if query is not None:
        check_field_names(condition, query)
    values: dict[str, Any] = {}

    def bind(value: Any) -> str:
        name = f"p{len(values)}"
        values[name] = value
        return f":{name}"

    sql = as_sql(condition, bind)
    if len(values) > MAX_VALUES:
        raise FilterError(f"where: the filter names {len(values)} values, at most {MAX_VALUES} are taken")
    return sql, values


class _Parser:
    """A recursive-descent parser, with one method per rule of the grammar."""

    def __init__(self, text: str) -> None:
        if not isinstance(text, str):
            raise FilterError(f"where: a filter is text or a mapping, not {type(text).__name__}. {HELP}")
        self.text = text
        if len(text) > MAX_CHARS:
            raise FilterError(f"where: the filter has {len(text)} characters, at most {MAX_CHARS} are taken")
        self.tokens = self._tokens()
        self.index = 0
        self.depth = 0

    def _tokens(self) -> list[Token]:
        tokens: list[Token] = []
        position = 0
        while not tokens or tokens[-1].kind != "end":
            match = TOKEN.match(self.text, position)
            if match is None:
                start = position + len(self.text[position:]) - len(self.text[position:].lstrip())
                character = self.text[start]
                open_quote = character in "'\"`"
                reason = "this quote is not closed" if open_quote else f"{character!r} means nothing here"
                raise self.error(reason, start)
            kind = str(match.lastgroup)
            text, start = match[kind], match.start(kind)
            if kind == "word" and text.lower() in KEYWORDS:
                kind, text = "keyword", text.lower()
            tokens.append(Token(kind, text, start))
            position = match.end()
        return tokens

    def error(self, reason: str, position: int) -> FilterError:
        """The reason, the place with a caret under it, and the list of fields."""
        left = max(0, position - 60)
        shown = re.sub(r"[\s\x00-\x1f]", " ", self.text[left : position + 40])
        caret = " " * (position - left) + "^"
        return FilterError(f"where: {reason} (at character {position + 1})\n    {shown}\n    {caret}\n{HELP}")

    @property
    def token(self) -> Token:
        return self.tokens[self.index]

    def take(self, *texts: str) -> bool:
        """Skip the next token if it is one of these signs or keywords; returns whether it is."""
        if self.token.kind in ("sign", "keyword") and self.token.text in texts:
            self.index += 1
            return True
        return False

    def need(self, text: str) -> None:
        if not self.take(text):
            raise self.expected(repr(text))

    def expected(self, what: str) -> FilterError:
        actual = "the filter ends" if self.token.kind == "end" else f"there is {self.token.text[:40]!r}"
        return self.error(f"expected {what}, but {actual}", self.token.start)

    def parse(self) -> Condition:
        condition = self.any_of()
        if self.token.kind != "end":
            raise self.expected("'and', 'or' or the end")
        return condition

    def any_of(self) -> Condition:
        terms = [self.all_of()]
        while self.take("or"):
            terms.append(self.all_of())
        return BoolOp("OR", tuple(terms)) if len(terms) > 1 else terms[0]

    def all_of(self) -> Condition:
        terms = [self.term()]
        while self.take("and"):
            terms.append(self.term())
        return BoolOp("AND", tuple(terms)) if len(terms) > 1 else terms[0]

    def term(self) -> Condition:
        start = self.token.start
        if not self.take("not", "("):
            return self.comparison()
        opener = self.tokens[self.index - 1].text
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise self.error(f"nested deeper than {MAX_DEPTH} levels", start)
        condition = Not(self.term()) if opener == "not" else self.any_of()
        if opener == "(":
            self.need(")")
        self.depth -= 1
        return condition

    def comparison(self) -> Condition:
        field = self.field()
        operator = self.token.text
        if self.take(*EQUAL, *UNEQUAL, *ORDER):
            return self.compared(field, operator)
        if self.take("is"):
            negated = self.take("not")
            self.need("null")
            return Not(IsNull(field)) if negated else IsNull(field)
        negated = self.take("not")
        rules = {"in": self.one_of, "like": self.like, "between": self.between}
        if self.take(*rules):
            condition = rules[self.tokens[self.index - 1].text](field)
            return Not(condition) if negated else condition
        raise self.expected("'in', 'like' or 'between'" if negated else "a comparison (= < in like between is ...)")

    def compared(self, field: Column | Key, operator: str) -> Condition:
        start = self.token.start
        if self.token.kind in ("word", "quoted"):
            other = self.field()
            if not (isinstance(field, Column) and isinstance(other, Column) and field.holds == other.holds != "list"):
                reason = "only built-in fields of one kind compare with each other; text goes in quotes"
                raise self.error(reason, start)
            return Comparison(field, operator, other)
        if operator in EQUAL | UNEQUAL:
            value = self.value(field)
            return Not(OneOf(field, (value,))) if operator in UNEQUAL else OneOf(field, (value,))
        return Comparison(field, operator, self.ordered(field))

    def between(self, field: Column | Key) -> Condition:
        low = self.ordered(field)
        self.need("and")
        return BoolOp("AND", (Comparison(field, ">=", low), Comparison(field, "<=", self.ordered(field))))

    def ordered(self, field: Column | Key) -> Value:
        """A value that has an order."""
        start = self.token.start
        if isinstance(field, Column) and field.holds == "list":
            raise self.error(f"{field.name} is a list, which has no order; use =, in or like", start)
        value = self.value(field)
        if isinstance(value, bool):
            raise self.error("true and false have no order; use = or !=", start)
        return value

    def one_of(self, field: Column | Key) -> Condition:
        self.need("(")
        values = [self.value(field)]
        while self.take(","):
            values.append(self.value(field))
        self.need(")")
        return OneOf(field, tuple(values))

    def like(self, field: Column | Key) -> Condition:
        start = self.token.start
        if self.token.kind != "text":
            raise self.expected("a pattern in quotes")
        if isinstance(field, Column) and field.holds == "number":
            raise self.error(f"{field.name} is a number, 'like' is for text", start)
        return Like(field, str(self.value(field)))

    def field(self) -> Column | Key:
        start = self.token.start
        parts = [self.part()]
        while self.take("."):
            parts.append(self.part())
        try:
            return field_of(parts)
        except ValueError as error:
            raise self.error(str(error), start) from None

    def part(self) -> str:
        if self.token.kind not in ("word", "quoted"):
            raise self.expected("a field")
        self.index += 1
        token = self.tokens[self.index - 1]
        return token.text.strip("`") if token.kind == "quoted" else token.text

    def value(self, field: Column | Key) -> Value:
        token = self.token
        if token.kind == "keyword" and token.text == "null":
            raise self.error("nothing equals null; write `is null` or `is not null`", token.start)
        if token.kind not in ("text", "number", "date") and token.text not in ("true", "false"):
            raise self.expected("a value: text in quotes, a number, a date, true or false")
        self.index += 1
        try:
            return fit(field, _literal(token))
        except ValueError as error:
            raise self.error(str(error), token.start) from None


def _literal(token: Token) -> Value:
    if token.kind == "text":
        quote = token.text[0]
        return token.text[1:-1].replace(quote * 2, quote)
    if token.kind == "keyword":
        return token.text == "true"
    if token.kind == "date":
        return token.text
    if token.text[-1] in "bB":
        return _bytes(token.text)
    if re.fullmatch(r"[+-]?\d{1,19}", token.text):
        return plain(int(token.text))
    return float(token.text)


def _bytes(text: str) -> Value:
    """A size such as `1.5 MB` (powers of 1000) or `4KiB` (powers of 1024)."""
    number, unit = re.fullmatch(r"(.*?)\s*([kmgt]i?)b", text.lower()).groups()  # type: ignore[union-attr]
    if math.isinf(float(number)):
        return float(number)
    amount = Decimal(number) * (1024 if "i" in unit else 1000) ** (1 + "kmgt".index(unit[0]))
    return int(amount) if abs(amount) < 2**63 and amount == int(amount) else float(amount)
