"""The filter language: a small safe expression, compiled to SQL in which every value is a bound parameter.

    size > 1MB and (format = 'jpeg' or name like 'IMG_%') and label not in (3, 7) and taken between 2021-05 and 2021-08

A field is one of the built-in names or else a metadata key; dots go into nested metadata, `meta.width` is the
metadata key where a built-in has the same name, and `odd key` in backticks is a key with spaces.

What is missing, or null, is unknown: a comparison with it does not hold, and its `not` does not hold either;
only `is null` asks for it. Metadata of another type than the value is simply not equal to it (so `!=` holds)
and is neither less nor greater. true and false are values of their own, not 1 and 0. `like` takes % for any
run and _ for any one character, and does not tell capital ASCII letters from small ones. Texts sort by code
point. Columns hold one kind: width is a number, and comparing it with text is an error. Dates compare as far as
they are written. A comparison with a list (keywords) holds where it holds of any entry. A name that no item of
the library has is an error.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from hashgrain.errors import FilterError
from hashgrain.store.conditions import Compared, IsNull, Joined, Like, Not, OneOf, Test, as_sql, from_mapping
from hashgrain.store.field_names import Ask, refuse_unclear
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
    text: str  # keywords in small letters
    start: int


@dataclass(frozen=True)
class Filter:
    """A filter that was parsed: the tree that says what it means, for whoever works it out."""

    test: Test


def parse_filter(where: str | Mapping[str, Any] | Filter) -> Filter:
    """The tree of a filter; one that is parsed already, as it is. FilterError says where it does not parse."""
    if isinstance(where, Filter):
        return where
    return Filter(from_mapping(where) if isinstance(where, Mapping) else _Parser(where).parse())


def compile_where(where: str | Mapping[str, Any] | Filter, ask: Ask | None = None) -> tuple[str, dict[str, Any]]:
    """An SQL condition on the items table, and its parameters. FilterError says where it does not parse.

    With `ask`, which puts a question to the catalogue, names that no item has or that mean two things are refused.
    """
    test = parse_filter(where).test
    if ask is not None:
        refuse_unclear(test, ask)
    values: dict[str, Any] = {}

    def bind(value: Any) -> str:
        name = f"p{len(values)}"
        values[name] = value
        return f":{name}"

    condition = as_sql(test, bind)
    if len(values) > MAX_VALUES:
        raise FilterError(f"where: the filter names {len(values)} values, at most {MAX_VALUES} are taken")
    return condition, values


class _Parser:
    """Recursive descent; one method a rule of the grammar."""

    def __init__(self, text: str) -> None:
        if not isinstance(text, str):
            raise FilterError(f"where: a filter is text or a mapping, not {type(text).__name__}. {HELP}")
        self.text = text
        if len(text) > MAX_CHARS:
            raise FilterError(f"where: the filter has {len(text)} characters, at most {MAX_CHARS} are taken")
        self.tokens = self._tokens()
        self.at = 0
        self.depth = 0

    def _tokens(self) -> list[Token]:
        tokens: list[Token] = []
        position = 0
        while not tokens or tokens[-1].kind != "end":
            found = TOKEN.match(self.text, position)
            if found is None:
                start = position + len(self.text[position:]) - len(self.text[position:].lstrip())
                character = self.text[start]
                open_quote = character in "'\"`"
                reason = "this quote is not closed" if open_quote else f"{character!r} means nothing here"
                raise self.error(reason, start)
            kind = str(found.lastgroup)
            text, start = found[kind], found.start(kind)
            if kind == "word" and text.lower() in KEYWORDS:
                kind, text = "keyword", text.lower()
            tokens.append(Token(kind, text, start))
            position = found.end()
        return tokens

    def error(self, reason: str, position: int) -> FilterError:
        """The reason, the place with a caret under it, and the fields there are."""
        left = max(0, position - 60)
        shown = re.sub(r"[\s\x00-\x1f]", " ", self.text[left : position + 40])
        caret = " " * (position - left) + "^"
        return FilterError(f"where: {reason} (at character {position + 1})\n    {shown}\n    {caret}\n{HELP}")

    @property
    def token(self) -> Token:
        return self.tokens[self.at]

    def take(self, *texts: str) -> bool:
        """Step over the next token if it is one of these signs or keywords."""
        if self.token.kind in ("sign", "keyword") and self.token.text in texts:
            self.at += 1
            return True
        return False

    def need(self, text: str) -> None:
        if not self.take(text):
            raise self.expected(repr(text))

    def expected(self, what: str) -> FilterError:
        found = "the filter ends" if self.token.kind == "end" else f"there is {self.token.text[:40]!r}"
        return self.error(f"expected {what}, but {found}", self.token.start)

    def parse(self) -> Test:
        test = self.any_of()
        if self.token.kind != "end":
            raise self.expected("'and', 'or' or the end")
        return test

    def any_of(self) -> Test:
        terms = [self.all_of()]
        while self.take("or"):
            terms.append(self.all_of())
        return Joined("OR", tuple(terms)) if len(terms) > 1 else terms[0]

    def all_of(self) -> Test:
        terms = [self.term()]
        while self.take("and"):
            terms.append(self.term())
        return Joined("AND", tuple(terms)) if len(terms) > 1 else terms[0]

    def term(self) -> Test:
        start = self.token.start
        if not self.take("not", "("):
            return self.comparison()
        opened = self.tokens[self.at - 1].text
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise self.error(f"nested deeper than {MAX_DEPTH} levels", start)
        test = Not(self.term()) if opened == "not" else self.any_of()
        if opened == "(":
            self.need(")")
        self.depth -= 1
        return test

    def comparison(self) -> Test:
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
            test = rules[self.tokens[self.at - 1].text](field)
            return Not(test) if negated else test
        raise self.expected("'in', 'like' or 'between'" if negated else "a comparison (= < in like between is ...)")

    def compared(self, field: Column | Key, operator: str) -> Test:
        start = self.token.start
        if self.token.kind in ("word", "quoted"):
            other = self.field()
            if not (isinstance(field, Column) and isinstance(other, Column) and field.holds == other.holds != "list"):
                reason = "only built-in fields of one kind compare with each other; text goes in quotes"
                raise self.error(reason, start)
            return Compared(field, operator, other)
        if operator in EQUAL | UNEQUAL:
            value = self.value(field)
            return Not(OneOf(field, (value,))) if operator in UNEQUAL else OneOf(field, (value,))
        return Compared(field, operator, self.ordered(field))

    def between(self, field: Column | Key) -> Test:
        low = self.ordered(field)
        self.need("and")
        return Joined("AND", (Compared(field, ">=", low), Compared(field, "<=", self.ordered(field))))

    def ordered(self, field: Column | Key) -> Value:
        """A value that has an order."""
        start = self.token.start
        if isinstance(field, Column) and field.holds == "list":
            raise self.error(f"{field.name} is a list, which has no order; use =, in or like", start)
        value = self.value(field)
        if isinstance(value, bool):
            raise self.error("true and false have no order; use = or !=", start)
        return value

    def one_of(self, field: Column | Key) -> Test:
        self.need("(")
        values = [self.value(field)]
        while self.take(","):
            values.append(self.value(field))
        self.need(")")
        return OneOf(field, tuple(values))

    def like(self, field: Column | Key) -> Test:
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
        self.at += 1
        token = self.tokens[self.at - 1]
        return token.text.strip("`") if token.kind == "quoted" else token.text

    def value(self, field: Column | Key) -> Value:
        token = self.token
        if token.kind == "keyword" and token.text == "null":
            raise self.error("nothing equals null; write `is null` or `is not null`", token.start)
        if token.kind not in ("text", "number", "date") and token.text not in ("true", "false"):
            raise self.expected("a value: text in quotes, a number, a date, true or false")
        self.at += 1
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
    """`1.5 MB`, `4KiB`: thousands, or with an i powers of 1024."""
    number, unit = re.fullmatch(r"(.*?)\s*([kmgt]i?)b", text.lower()).groups()  # type: ignore[union-attr]
    if math.isinf(float(number)):
        return float(number)
    amount = Decimal(number) * (1024 if "i" in unit else 1000) ** (1 + "kmgt".index(unit[0]))
    return int(amount) if abs(amount) < 2**63 and amount == int(amount) else float(amount)
