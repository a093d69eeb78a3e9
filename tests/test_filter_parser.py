"""The filter language against a plain evaluation in Python, and against people who mistype or mean harm."""

from __future__ import annotations

import hashlib
import json
import os
import random
import re
import sqlite3
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hashgrain.codes import Grains
from hashgrain.errors import FilterError
from hashgrain.store import Item, New, Snapshot, Store
from hashgrain.store.filter_parser import compile_filter
from test_store import no_waiting_for_the_disk as no_waiting_for_the_disk

TEXTS = ["cat", "Cat", "dog", "", "café", "it's", 'a "b"', "x%y", "100", "ZÜRICH", "line\nbreak", "𝔘", "true"]
NUMBERS = [-3, 0, 1, 2, 7, 100, 0.5, 2.0, -2.25, 2**53, 10**30]
FORMATS = ["jpeg", "png", "webp"]
TAKEN = [
    "2020-01-01T00:00:00",
    "2021-05-01T13:20:11",
    "2021-05-31T23:59:59",
    "2021-06-31T00:00:60",
    "2022-12-09T08:07:06",
]
DATES = ["2021", "2021-05", "2021-06-31", "2021-05-01", "2021-05-01T13", "2021-05-01T13:20", *TAKEN, "0000", "9999-12"]
AMOUNTS = {"1kB": 1000, "1 KiB": 1024, "1.5mb": 1_500_000, "0.5KIB": 512, "1e-3 GB": 1_000_000, "-2TB": -2 * 10**12}
ANY = [*TEXTS, *NUMBERS, True, False, None, [1, 2], ["cat", "IMG_1", 7, True, None, ["cat"]], [], {"deep": 1}]


def new(number: int, **facts: Any) -> New:
    given = {
        "stamp": (number, number),
        "width": 10 * number,
        "height": 300,
        "format": "jpeg",
        "taken": None,
        "meta": {},
    }
    content = hashlib.sha256(str(number).encode()).hexdigest()
    defaults = {"path": f"/x/{number}.jpg", "content": content, "code": np.full(1, number, np.uint64)}
    return New(**{**defaults, **given, **facts})


def varied(count: int) -> list[New]:
    """Items whose metadata has every type under every key, and often lacks it."""
    draw = random.Random(7)
    made = []
    for number in range(count):
        meta: dict[str, Any] = {key: draw.choice(ANY) for key in ("label", "width", "ключ") if draw.random() < 0.8}
        if draw.random() < 0.6:
            meta["camera"] = draw.choice([{"model": draw.choice(ANY), "odd key": draw.choice(ANY)}, "none", {}])
        name = draw.choice(["a.jpg", "IMG_1.png", "ü.jpg", os.fsdecode(b"\xff\xfe.jpg")])
        made.append(
            new(
                number,
                path=f"/{draw.choice('abc')}/{number}/{name}",
                width=draw.choice([1, 2, 7, 100, 640]),
                height=draw.choice([1, 2, 7, 100, 480]),
                format=draw.choice(FORMATS),
                taken=draw.choice([None, *TAKEN]),
                stamp=draw.choice([None, (7, 1), (100, 1), (1000, 1), (1024, 1), (1_500_000, 1)]),
                meta=meta,
            )
        )
    return made


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Snapshot]:
    path = tmp_path_factory.mktemp("where") / "made.hg"
    with Store.create(path, grains=Grains(look=64), digest="d") as store:
        store.commit([*varied(119), new(119, meta=ONCE, taken=TAKEN[-1])])
        with store.snapshot() as taken:
            yield taken


# ---- the oracle: a term is its text and what it says of an item, True, False or None for unknown


@dataclass(frozen=True)
class Term:
    text: str
    says: Any  # Item -> bool | None

    def __repr__(self) -> str:
        return self.text


def value_of(item: Item, field: str) -> Any:
    if field == "name":
        return item.path.rpartition("/")[2]
    if field in ("year", "month", "day"):
        return None if item.taken is None else int(item.taken.split("T")[0].split("-")["ymd".index(field[0])])
    if field in ("id", "path", "width", "height", "format", "taken", "size"):
        return getattr(item, field)
    value: Any = item.meta
    for key in {"meta.width": ["width"], "camera.`odd key`": ["camera", "odd key"]}.get(field, field.split(".")):
        value = value.get(key) if isinstance(value, dict) else None
    return value


def kind(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return str(value)
    return {int: "number", float: "number", str: "text"}.get(type(value), "other")


def same(left: Any, right: Any) -> bool:
    """Of a list, any entry."""
    if isinstance(left, list) and right is not None:
        return any(same(each, right) for each in left if not isinstance(each, list))
    return kind(left) == kind(right) and left == right


def order_key(value: Any) -> Any:
    return os.fsencode(value) if isinstance(value, str) else value


def compare(operator: str, left: Any, right: Any) -> bool | None:
    if left is None:
        return None
    if operator in ("=", "==", "!=", "<>"):
        return same(left, right) == (operator in ("=", "=="))
    if kind(left) != kind(right):
        return False
    left, right = order_key(left), order_key(right)
    return {"<": left < right, "<=": left <= right, ">": left > right, ">=": left >= right}[operator]


def matches(pattern: str, value: Any) -> bool | None:
    if isinstance(value, list):
        return any(matches(pattern, each) is True for each in value if not isinstance(each, list))
    if not isinstance(value, str):
        return None if value is None else False
    lower = str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz")
    parts = {"%": ".*", "_": "."}
    wanted = "".join(parts.get(letter, re.escape(letter)) for letter in pattern.translate(lower))
    return re.fullmatch(wanted, value.translate(lower), re.DOTALL) is not None


def unknown_not(value: bool | None) -> bool | None:
    return None if value is None else not value


def unknown_and(values: list[bool | None]) -> bool | None:
    return False if False in values else None if None in values else True


def unknown_or(values: list[bool | None]) -> bool | None:
    return True if True in values else None if None in values else False


def written(value: Any) -> str:
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'" if "'" in value else '"' + value.replace('"', '""') + '"'
    return str(value).lower() if isinstance(value, bool) else repr(value)


META = ["label", "meta.width", "ключ", "camera.model", "camera.`odd key`", "nowhere", "camera.model.deeper"]
ONCE = {
    "nowhere": None,
    "camera": {"model": {"deeper": None}},
    "a": {"b": None},
}  # names that are there, and that is all
FIELDS: list[tuple[str, list[Any]]] = [
    *[(field, [*TEXTS, *NUMBERS, True, False]) for field in META],
    *[(field, list(NUMBERS)) for field in ("width", "height", "size", "id")],
    *[(field, [5, 31, 6, 2021, 12, 0.5]) for field in ("year", "month", "day")],
    ("format", [*TEXTS, *FORMATS]),
    ("name", ["a.jpg", "ü.jpg", os.fsdecode(b"\xff\xfe.jpg"), "z"]),
]
fields = st.sampled_from(FIELDS)


@st.composite
def comparisons(draw: st.DrawFn) -> Term:
    field, values = draw(fields)
    shape = draw(st.sampled_from(["compare", "in", "null", "like", "columns", "between", "date", "amount"]))
    if shape == "date":
        return draw(dated())
    if shape == "amount":
        operator, (amount, number) = (
            draw(st.sampled_from(["=", "!=", "<", ">="])),
            draw(st.sampled_from([*AMOUNTS.items()])),
        )
        return Term(f"size {operator} {amount}", lambda i: compare(operator, i.size, number))
    if shape == "between":
        low, high = (draw(st.sampled_from([v for v in values if not isinstance(v, bool)])) for _ in "ab")
        negated = draw(st.booleans())

        def inside(item: Item) -> bool | None:
            item_value = value_of(item, field)
            both = unknown_and([compare(">=", item_value, low), compare("<=", item_value, high)])
            return unknown_not(both) if negated else both

        return Term(f"{field} {'not ' * negated}Between {written(low)} and {written(high)}", inside)
    if shape == "columns":
        operator = draw(st.sampled_from(["=", "!=", "<", ">="]))
        return Term(f"width {operator} size", lambda i: None if i.size is None else compare(operator, i.width, i.size))
    if shape == "null":
        yes = draw(st.booleans())
        text = f"{field} is null" if yes else f"{field} IS NOT NULL"
        return Term(text, lambda i: (value_of(i, field) is None) == yes)
    if shape == "like" and isinstance(values[0], str):
        pattern = draw(st.sampled_from(["%", "c_t", "C%", "%é", "IMG\\_%", "%_.jpg", "x%y", "%'%", "ZÜ%", "%\n%"]))
        negated = draw(st.booleans())
        text = f"{field} {'not ' * negated}like {written(pattern)}"
        return Term(
            text,
            lambda i: (
                unknown_not(matches(pattern, value_of(i, field))) if negated else matches(pattern, value_of(i, field))
            ),
        )
    if shape == "in":
        some = draw(st.lists(st.sampled_from(values), min_size=1, max_size=4))
        negated = draw(st.booleans())
        text = f"{field} {'NOT ' * negated}In ({', '.join(map(written, some))})"

        def within(item: Item) -> bool | None:
            item_value = value_of(item, field)
            hit = None if item_value is None else any(same(item_value, one) for one in some)
            return unknown_not(hit) if negated else hit

        return Term(text, within)
    value = draw(st.sampled_from(values))
    operators = ["=", "==", "!=", "<>"] if isinstance(value, bool) else ["=", "==", "!=", "<>", "<", "<=", ">", ">="]
    operator = draw(st.sampled_from(operators))
    space = draw(st.sampled_from(["", " ", "\n\t"]))
    return Term(
        f"{field}{space}{operator}{space}{written(value)}", lambda i: compare(operator, value_of(i, field), value)
    )


@st.composite
def dated(draw: st.DrawFn) -> Term:
    """Dates compare as far as they are written, with quotes or without."""
    some = [draw(st.sampled_from(DATES)) for _ in range(draw(st.integers(1, 3)))]
    shown = [draw(st.sampled_from([date, f"'{date}'"])) for date in some]
    operator = draw(st.sampled_from(["=", "==", "!=", "<>", "<", "<=", ">", ">=", "in", "between"]))

    def compared(item: Item, operator: str, date: str) -> bool | None:
        return None if item.taken is None else compare(operator, item.taken[: len(date)], date)

    if operator == "in":
        return Term(f"taken in ({', '.join(shown)})", lambda i: unknown_or([compared(i, "=", each) for each in some]))
    if operator == "between":
        ends = ((">=", some[0]), ("<=", some[-1]))
        text = f"taken between {shown[0]} and {shown[-1]}"
        return Term(text, lambda i: unknown_and([compared(i, *end) for end in ends]))
    return Term(f"taken {operator} {shown[0]}", lambda i: compared(i, operator, some[0]))


def bigger(inner: st.SearchStrategy[Term]) -> st.SearchStrategy[Term]:
    lists = st.lists(inner, min_size=2, max_size=4)
    return st.one_of(
        inner.map(lambda t: Term(f"not ({t.text})", lambda i: unknown_not(t.says(i)))),
        lists.map(
            lambda ts: Term(
                "(" + ") and (".join(t.text for t in ts) + ")", lambda i: unknown_and([t.says(i) for t in ts])
            )
        ),
        lists.map(
            lambda ts: Term(
                "(" + ") OR (".join(t.text for t in ts) + ")", lambda i: unknown_or([t.says(i) for t in ts])
            )
        ),
    )


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(term=st.recursive(comparisons(), bigger, max_leaves=8))
def test_a_filter_selects_what_python_would(snapshot: Snapshot, term: Term) -> None:
    wanted = [item.id for item in snapshot.items(range(1, 121)) if term.says(item) is True]
    assert snapshot.select(term.text).tolist() == wanted


@settings(max_examples=150, deadline=None)
@given(a=comparisons(), b=comparisons(), c=comparisons())
def test_not_binds_before_and_before_or(snapshot: Snapshot, a: Term, b: Term, c: Term) -> None:
    plain = snapshot.select(f"{a.text} or not {b.text} and {c.text}")
    assert plain.tolist() == snapshot.select(f"({a.text}) or ((not ({b.text})) and ({c.text}))").tolist()


@settings(max_examples=200, deadline=None)
@given(
    wanted=st.dictionaries(
        st.sampled_from(["label", "meta.width", "camera.model", "ключ"]),
        st.sampled_from([*TEXTS, *NUMBERS, True, False, None]),
        max_size=3,
    )
)
def test_a_mapping_means_all_equal(snapshot: Snapshot, wanted: dict[str, Any]) -> None:
    def holds(item: Item) -> bool:
        return all(same(value_of(item, field), value) for field, value in wanted.items())

    assert snapshot.select(wanted).tolist() == [item.id for item in snapshot.items(range(1, 121)) if holds(item)]


def test_a_mapping_takes_lists_numpy_scalars_and_built_in_fields(snapshot: Snapshot) -> None:
    both = snapshot.select({"format": ["png", "webp"], "width": np.int32(100)})
    assert both.tolist() == snapshot.select("format in ('png', 'webp') and width = 100").tolist()
    assert len(both)
    assert snapshot.select({"label": []}).tolist() == []


@settings(max_examples=300, deadline=None)
@given(text=st.text(max_size=60) | st.text(alphabet="ab '\"`()=<>!,.%-0;1\n", max_size=30))
def test_any_text_is_a_filter_or_a_filter_error(snapshot: Snapshot, text: str) -> None:
    with suppress(FilterError):
        assert set(snapshot.select(text)) <= set(range(1, 121))


INJECTIONS = [
    "1=1",
    "id = 1; DROP TABLE items",
    "id = 1 -- ",
    "id = 1 /* */ or 1=1",
    "id = 1 union select id from items",
    "id in (select id from items)",
    "load_extension('x') = 1",
    "id = :p0",
    "id = ?",
    "random() = 1",
    "items.id = 1) or (1 = 1",
    "seal = 1 or rowid = 1",
    "sqlite_master is not null",
    "label = 'x' collate nocase",
    "label glob '*'",
    "label = x'00'",
    "[id] = 1",
    '`a"b` = 1',
    "`a\\b` = 1",
    "`` = 1",
]


@pytest.mark.parametrize("text", INJECTIONS)
def test_sql_never_passes_through(snapshot: Snapshot, text: str) -> None:
    """Refused, or read as names of metadata that no item has."""
    with suppress(FilterError):
        assert snapshot.select(text).tolist() == []
    assert len(snapshot.items([1])) == 1


@given(
    text=st.text(st.characters(exclude_categories=["Cs"]), max_size=40),
    field=st.sampled_from(["label", "format", "path"]),
)
def test_what_is_in_quotes_is_never_part_of_the_sql(text: str, field: str) -> None:
    """The statement is the same whatever the text; only the parameter differs."""
    quoted = text.replace("'", "''")
    sql, values = compile_filter(f"{field} = '{quoted}'")
    assert sql == compile_filter(f"{field} = 'x'")[0]
    assert (text in values.values()) or (os.fsencode(text) in values.values())


BROKEN = {
    "": "expected a field",
    "   ": "expected a field",
    "width": "expected a comparison",
    "width =": "expected a value",
    "width = = 3": "expected a value",
    "width = 3 4": "expected 'and', 'or' or the end",
    "width = 3 and": "expected a field",
    "and width = 3": "expected a field",
    "(width = 3": "expected ')'",
    "width = 3)": "expected 'and', 'or' or the end",
    "label = 'open": "this quote is not closed",
    'label = "open': "this quote is not closed",
    "`label = 3": "this quote is not closed",
    "label = null": "write `is null`",
    "label in ()": "expected a value",
    "label in (1, null)": "write `is null`",
    "label in 3": "expected '('",
    "label not 3": "expected 'in', 'like' or 'between'",
    "label between 3": "expected 'and'",
    "label between 3 or 4": "expected 'and'",
    "label between true and false": "have no order",
    "keywords > 'a'": "a list, which has no order",
    "keywords between 'a' and 'b'": "a list, which has no order",
    "keywords = 3": "keywords is text",
    "keywords = keywords": "only built-in fields of one kind",
    "size > 1 MX": "expected 'and', 'or' or the end",
    "taken = 'yesterday'": "such as 2021, 2021-05",
    "taken = 2021-13": "not '2021-13'",
    "taken = 2021.5": "taken is a date",
    "width = 2021-05": "width is a number",
    "year = '2021'": "year is a number",
    "label like 3": "a pattern in quotes",
    "label < true": "have no order",
    "width = 'wide'": "width is a number",
    "width like '1%'": "width is a number",
    "format = 3": "format is text",
    "taken = true": "taken is a date",
    "width = format": "only built-in fields of one kind",
    "label = width": "only built-in fields of one kind",
    "width ~ 3": "means nothing here",
    "width = 3 & 4": "means nothing here",
    "3 = width": "expected a field",
    "camera. = 3": "expected a field",
    "label = '\ud800'": "half a character",
    "(" * 51 + "id = 1" + ")" * 51: "nested deeper than 50",
    "not " * 60 + "id = 1": "nested deeper than 50",
    "id = 1 or " * 1100 + "id = 1": "at most 10000",
}


@pytest.mark.parametrize(("text", "reason"), BROKEN.items(), ids=[text[:20] for text in BROKEN])
def test_a_broken_filter_says_what_is_wrong(text: str, reason: str) -> None:
    with pytest.raises(FilterError, match=re.escape(reason)):
        compile_filter(text)


def test_the_caret_stands_under_the_fault() -> None:
    for text, fault in [
        ("width >= 3 and heigth ~ 4", "~"),
        ("x = 1 and " * 30 + "y ! 2", "!"),
        ("a = 1\n and b ? 2", "?"),
    ]:
        with pytest.raises(FilterError) as caught:
            compile_filter(text)
        _, shown, caret, fields = str(caught.value).splitlines()
        assert shown[caret.index("^")] == fault
        assert fields.startswith("Fields: id, path, name, width, height, format, taken, added, size, content")


@pytest.mark.parametrize(
    "wanted",
    [{"width": "wide"}, {"label": object()}, {"label": float("nan")}, {3: 4}, {'a"b': 1}, {"": 1}, {"a..b": 1}],
)
def test_a_broken_mapping_says_which_field(wanted: dict[Any, Any]) -> None:
    with pytest.raises(FilterError, match=re.escape(str(next(iter(wanted))) or "empty")):
        compile_filter(wanted)


def test_a_mapping_with_too_many_values_is_refused() -> None:
    with pytest.raises(FilterError, match="at most 10000"):
        compile_filter({"label": list(range(10_001))})


def test_neither_text_nor_mapping_is_refused() -> None:
    with pytest.raises(FilterError, match="not int"):
        compile_filter(3)  # type: ignore[arg-type]


def test_the_largest_filters_allowed_are_answered(snapshot: Snapshot) -> None:
    everything = list(range(1, 121))
    chain = " or ".join(["id=1"] * 1249)
    assert len(chain) > 9_900
    assert snapshot.select(chain).tolist() == [1]
    assert snapshot.select("(" * 50 + "id > 0" + ")" * 50).tolist() == everything
    assert snapshot.select(" and ".join(["a.b is null"] * 600)).tolist() == everything
    assert snapshot.select(f"id in ({','.join(['1'] * 4900)})").tolist() == [1]
    assert snapshot.select(f"id < {'9' * 5000}").tolist() == everything
    nested = "not (" * 25 + " or ".join(["label = 'a'"] * 600) + ")" * 25
    assert set(snapshot.select(nested).tolist()) <= set(everything)


def test_a_pattern_full_of_wildcards_is_answered_at_once(snapshot: Snapshot, tmp_path: Path) -> None:
    """Naive matching of this one would take longer than the world has existed."""
    with Store.create(tmp_path / "long.hg", grains=Grains(look=64), digest="d") as store:
        store.commit([new(1, meta={"note": "a" * 5000})])
        with store.snapshot() as taken:
            assert taken.select(f"note like '{'%a' * 40}%b'").tolist() == []


def test_paths_that_are_not_utf8_are_found(snapshot: Snapshot) -> None:
    odd = os.fsdecode(b"\xff\xfe.jpg")
    ids = snapshot.select(f"name = '{odd}'")
    assert len(ids)
    assert ids.tolist() == snapshot.select({"name": odd}).tolist()
    assert {item.path.rpartition("/")[2] for item in snapshot.items(ids)} == {odd}


# ---- names that nobody has


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("lable = 3", "did you mean label?"),
        ("Width > 3", "did you mean meta.width or width?"),
        ("labels is null", "did you mean label or lens?"),
        ("heigth > 3 and width > 3", "did you mean height?"),
        ("meta.widht = 3", "did you mean meta.width or width?"),
        ("camera.modle = 'X'", "did you mean camera.model?"),
        ("camera.`odd kez` = 'X'", "did you mean camera.`odd key`?"),
        ("wholly.else = 3", "there is a, meta.camera, label, nowhere, meta.width, ключ, id, path"),
        ("not (width > 3 or yaer = 2021)", "did you mean year"),
        ("meta.rating = 3", "did you mean rating?"),
    ],
)
def test_a_field_that_nothing_has_is_an_error_with_the_nearest_names(snapshot: Snapshot, text: str, said: str) -> None:
    with pytest.raises(FilterError, match=re.escape(said)) as caught:
        snapshot.select(text)
    assert "no picture here has" in str(caught.value)


def test_an_unknown_field_of_a_mapping_is_an_error_too(snapshot: Snapshot) -> None:
    with pytest.raises(FilterError, match="did you mean label"):
        snapshot.select({"lable": 3})


@pytest.mark.parametrize("name", ["year", "keywords", "rating"])
def test_a_name_that_became_a_field_is_not_taken_for_the_metadata_people_gave(tmp_path: Path, name: str) -> None:
    """Silently it would find nothing of what it found before the field was there."""
    value = "'x'" if name == "keywords" else "7"
    with Store.create(tmp_path / "older.hg", grains=Grains(look=64), digest="d") as store:
        store.commit([new(1, meta={name: value.strip("'") if name == "keywords" else 7}, taken=TAKEN[0]), new(2)])
        with store.snapshot() as taken:
            with pytest.raises(FilterError, match=re.escape(f"write meta.{name} for it, or file.{name} for")):
                taken.select(f"width > 0 and {name} = {value}")
            assert taken.select(f"meta.{name} = {value}").tolist() == [1]
            assert taken.select(f"file.{name} = {value}").tolist() == []
            assert taken.select("file.month = 1").tolist() == [1]


def test_details_of_a_library_are_filtered(tmp_path: Path) -> None:
    with Store.create(tmp_path / "made.hg", grains=Grains(look=64), digest="d") as store:
        store.commit([new(i, details=one or {}) for i, one in enumerate(DETAILS)])
        with store.snapshot() as taken:
            assert taken.select("camera like 'CANON' and iso between 100 and 6400").tolist() == [4, 6]
            assert taken.select("keywords in ('cat', 'dog') and rating is not null").tolist() == [3, 5]
            assert taken.select({"keywords": "Garden"}).tolist() == [3]


def test_an_empty_library_refuses_no_name(tmp_path: Path) -> None:
    with Store.create(tmp_path / "none.hg", grains=Grains(look=64), digest="d") as store:
        with store.snapshot() as taken:
            assert taken.select("label = 3").tolist() == []
        store.commit([new(1)])
        with store.snapshot() as taken, pytest.raises(FilterError, match="no picture here has 'label'"):
            taken.select("label = 3")


def test_the_fields_named_in_the_help_of_search_are_there(snapshot: Snapshot) -> None:
    import inspect

    from hashgrain.cli.search import search

    (example,) = re.findall(r'holds: "(.*?)"', inspect.getsource(search))
    assert len(snapshot.select(example))


# ---- what files say of themselves: details in JSON, which no item needs to have


DETAILS: list[dict[str, Any] | None] = [
    None,
    {},
    {"camera": "FUJIFILM X100V", "iso": 200, "keywords": ["cat", "Garden"], "rating": 5, "latitude": -33.5},
    {"camera": "Canon", "iso": 6400, "keywords": [], "focal_length": 23.0, "longitude": 151.25},
    {"lens": "50mm", "rating": 0, "keywords": ["dog", "cat's", "a%b"], "focal_length": 50.5, "latitude": 60},
    {"camera": "canon", "keywords": ["100"], "iso": 100, "longitude": -0.5},
]
DETAIL_VALUES: dict[str, list[Any]] = {
    "camera": ["Canon", "canon", "FUJIFILM X100V", "x"],
    "lens": ["50mm", ""],
    "iso": [100, 200, 6400, 0.5],
    "focal_length": [23, 50.5],
    "latitude": [-33.5, 0, 60],
    "longitude": [151.25, -0.5],
    "rating": [0, 5],
}


def detailed(text: str | dict[str, Any]) -> list[int]:
    """The places in DETAILS that a filter selects."""
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE items (id INTEGER PRIMARY KEY, details TEXT, meta TEXT, taken TEXT)")
    rows = [(i, None if one is None else json.dumps(one)) for i, one in enumerate(DETAILS)]
    connection.executemany("INSERT INTO items VALUES (?, ?, '{}', NULL)", rows)
    condition, values = compile_filter(text)
    return [row[0] for row in connection.execute(f"SELECT id FROM items WHERE {condition} ORDER BY id", values)]


@pytest.mark.parametrize("field", DETAIL_VALUES)
def test_details_are_compared_as_python_would(field: str) -> None:
    for operator in ("=", "!=", "<", "<=", ">", ">="):
        for value in DETAIL_VALUES[field]:
            wanted = [i for i, one in enumerate(DETAILS) if compare(operator, (one or {}).get(field), value)]
            assert detailed(f"{field} {operator} {written(value)}") == wanted
    assert detailed(f"{field} is null") == [i for i, one in enumerate(DETAILS) if field not in (one or {})]


def test_a_keyword_is_any_of_them() -> None:
    assert detailed("keywords = 'cat'") == detailed({"keywords": "cat"}) == [2]
    assert detailed("keywords != 'cat'") == [3, 4, 5]
    assert detailed("keywords in ('cat', 'dog')") == [2, 4]
    assert detailed("keywords not in ('cat', 'dog')") == [3, 5]
    assert detailed("keywords like 'CA%'") == [2, 4]
    assert detailed("keywords not like 'ca%'") == [3, 5]
    assert detailed("keywords = '100'") == [5]
    assert detailed("keywords is null") == [0, 1]
    assert detailed("keywords = 'cat' and keywords = 'Garden' and not keywords = 'dog'") == [2]
