"""Indexes never change an answer: any kind, any split of the rows, any state of the file."""

from __future__ import annotations

import json
import zlib
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hamming_questions import Asked, listed, questions
from hashgrain.errors import LibraryError
from hashgrain.hamming import (
    Index,
    build_lists,
    build_tables,
    compiled,
    lists_bytes,
    native,
    nearest,
    open_index,
    plain,
    read_facts,
    rows_of,
    save,
    search,
    tables_bytes,
    within,
)
from hashgrain.hamming.index import covering, rest_of
from hashgrain.hamming.path_timings import PathTimings
from hashgrain.hamming.question import Question, ask_nearest, ask_within
from hashgrain.hamming.rows import unpacked

FOREVER = 1e18  # what a scan is said to cost, so that the index goes on to the end
needs_kernels = pytest.mark.skipif(not compiled(), reason="the kernels are not compiled here")


def by_index(question: Question, parts: list, indexes: list[Index], scan_ns: float = FOREVER) -> list:
    described = [index.described() for index in indexes]
    rest = rest_of(parts, indexes)
    return native.search_index(question, parts, rest, indexes[0].path, described, scan_ns)


def shared_out(question: Question, parts: list, indexes: list[Index], shares: int) -> list:
    """The same with each query shared out among so many workers."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search, "GROUP", 3)
        return search._probe(question, parts, indexes, 2, FOREVER, shares)


def ranges(data: st.DataObject, n: int) -> list[tuple[int, int]]:
    """Runs of rows that do not overlap, with gaps, for indexes to cover."""
    edges = sorted(data.draw(st.lists(st.integers(0, n), min_size=2, max_size=5), label="edges"))
    return [(a, b) for a, b in zip(edges[::2], edges[1::2], strict=False) if a < b] or [(0, n)]


@needs_kernels
@settings(max_examples=150)
@given(questions(widths=(1, 2, 3)), st.integers(1, 100), st.data())
def test_tables_answer_as_the_scan_does(asked: Asked, k: int, data: st.DataObject) -> None:
    bits = data.draw(st.sampled_from([16, 32, 48, 64]))
    built = data.draw(st.sampled_from([each for each in (16, 32, 48, 64) if each >= bits]))
    parts, n = asked.parts(), len(asked.ids)
    indexes: list[Index] = [build_tables(parts, a, b, built) for a, b in ranges(data, n)]
    radius = data.draw(st.integers(0, bits))
    for question in (
        ask_nearest(asked.queries, parts, k, bits, None),
        ask_within(asked.queries, parts, radius, bits, data.draw(st.one_of(st.none(), st.just(k)))),
    ):
        expected = [(listed(each), each.total) for each in plain.scan(question, parts)]
        assert [(listed(each), each.total) for each in by_index(question, parts, indexes)] == expected
        shares = data.draw(st.integers(2, 5))
        for i in range(len(asked.queries)):
            one = replace(question, queries=asked.queries[i : i + 1])
            (found,) = shared_out(one, parts, indexes, shares)
            assert (listed(found), found.total) == expected[i]


@needs_kernels
@settings(max_examples=150)
@given(questions(), st.integers(1, 100), st.data())
def test_lists_answer_as_the_scan_does(asked: Asked, k: int, data: st.DataObject) -> None:
    parts, n = asked.parts(), len(asked.ids)
    indexes: list[Index] = [build_lists(parts, a, b, asked.bits) for a, b in ranges(data, n)]
    radius = data.draw(st.integers(0, asked.bits))
    for question in (
        ask_nearest(asked.queries, parts, k, asked.bits, None),
        ask_within(asked.queries, parts, radius, asked.bits, data.draw(st.one_of(st.none(), st.just(k)))),
    ):
        expected = [(listed(each), each.total) for each in plain.scan(question, parts)]
        assert [(listed(each), each.total) for each in by_index(question, parts, indexes)] == expected
        shares = data.draw(st.integers(2, 5))
        for i in range(len(asked.queries)):
            one = replace(question, queries=asked.queries[i : i + 1])
            (found,) = shared_out(one, parts, indexes, shares)
            assert (listed(found), found.total) == expected[i]


def clustered(n: int, n_words: int, seed: int = 0) -> np.ndarray:
    """Codes around a hundred centers, a few bits off."""
    rng = np.random.default_rng(seed)
    centers = np.random.default_rng(9).integers(0, 2**64, (100, n_words), np.uint64)
    codes = centers[rng.integers(0, 100, n)]
    for _ in range(3):
        codes ^= np.uint64(1) << rng.integers(0, 64, (n, n_words), np.uint64)
    return codes


@needs_kernels
@pytest.mark.parametrize(("n_words", "build"), [(1, build_tables), (2, build_lists)])
def test_on_clustered_codes_an_index_looks_at_a_small_part_of_the_rows(n_words: int, build: object) -> None:
    codes = clustered(100_000, n_words)
    parts = [rows_of(codes[:60_000]), rows_of(codes[60_000:], np.arange(60_000, 100_000), first_row=60_000)]
    index = build(parts, 0, 100_000, 64 * n_words)  # type: ignore[operator]
    queries = clustered(20, n_words, seed=1)
    found = by_index(ask_nearest(queries, parts, 10, 64 * n_words, None), parts, [index])
    expected = nearest(queries, parts, 10, bits=64 * n_words)
    assert [listed(each) for each in found] == [listed(each) for each in expected]
    assert np.median([each.cost.rows for each in found]) < 10_000
    assert {each.cost.path for each in found} == {index.path}


@needs_kernels
@pytest.mark.parametrize("build", [build_tables, build_lists])
def test_an_index_gives_up_where_a_scan_is_cheaper_and_the_scan_answers(build: object) -> None:
    words = np.random.default_rng(0).integers(0, 2**64, (50_000, 1), np.uint64)
    parts = [rows_of(words)]
    index = build(parts, 0, 50_000, 64)  # type: ignore[operator]
    question = ask_nearest(words[:5] ^ np.uint64(0b1011), parts, 1000, 64, None)
    assert by_index(question, parts, [index], scan_ns=1000.0) == [None] * 5
    found = nearest(question.queries, parts, 1000, bits=64, indexes=[index])
    assert [listed(each) for each in found] == [listed(each) for each in plain.scan(question, parts)]
    assert {each.cost.path for each in found} == {"scan"}


@needs_kernels
def test_the_way_that_was_quicker_is_taken_and_the_other_tried_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    words = clustered(1000, 1)
    parts = [rows_of(words)]
    now, taken = [0], []
    monkeypatch.setattr(search, "scan_ns", lambda *_: 100.0)  # what a scan is thought to take
    monkeypatch.setattr(search.time, "perf_counter_ns", lambda: now[0])
    takes = {"index": 50, "scan": 20}

    def slow(way: str, real: object) -> object:
        def asked(*arguments: object, **more: object) -> object:
            taken.append(way)
            now[0] += takes[way]
            return real(*arguments, **more)  # type: ignore[operator]

        return asked

    monkeypatch.setattr(search, "_probe", slow("index", search._probe))
    monkeypatch.setattr(search, "_scan", slow("scan", search._scan))
    index = build_tables(parts, 0, 1000, 64)
    for _ in range(100):
        nearest(words[:1], parts, 3, bits=64, indexes=[index], threads=1)
    # Each way is timed from its second time on. The index looks quicker; a scan turns out to be, and stays, but for
    # a try of the index at 32, 64 and 96.
    assert taken[:8] == ["index"] * 4 + ["scan"] * 4
    assert [i + 1 for i, way in enumerate(taken) if way == "index"] == [1, 2, 3, 4, 32, 64, 96]
    takes.update(index=1)
    for _ in range(300):
        nearest(words[:1], parts, 3, bits=64, indexes=[index], threads=1)
    assert taken[-100:] == ["index"] * 100


@given(st.integers(1, 300), st.data())
def test_the_rest_is_every_row_that_no_index_covers(n: int, data: st.DataObject) -> None:
    cuts = [0, *sorted(data.draw(st.lists(st.integers(0, n), max_size=3))), n]
    numbers = np.arange(n)
    alive = numbers % 7 != 0 if data.draw(st.booleans()) else None
    parts = [
        rows_of(numbers[a:b].astype(np.uint64)[:, None], numbers[a:b], None if alive is None else alive[a:b], a)
        for a, b in pairwise(cuts)
    ]
    covered = ranges(data, n)
    indexes: list[Index] = [build_tables(parts, a, b, 64) for a, b in covered]
    left = [i for part in rest_of(parts, indexes) for i in part.ids[unpacked(part)].tolist()]
    inside = {i for a, b in covered for i in range(a, b)}
    assert left == [i for i in range(n) if i not in inside and (alive is None or alive[i])]


def test_an_index_serves_only_what_it_was_made_for() -> None:
    words = clustered(100, 2)
    parts = [rows_of(words)]
    tables, lists = build_tables(parts, 0, 100, 128), build_lists(parts, 0, 100, 128)
    for bits, expected in ((64, [tables]), (32, [tables]), (128, [lists]), (100, []), (40, [])):
        assert covering(ask_nearest(words[:1], parts, 1, bits, None), parts, [tables, lists]) == expected
    weighted = ask_nearest(words[:1], parts, 1, 64, [(32, 2.0), (64, 1.0)])
    assert covering(weighted, parts, [tables, lists]) == []
    fewer = [rows_of(words[:50])]  # an index of rows that are not there (yet, or any more)
    assert covering(ask_nearest(words[:1], fewer, 1, 64, None), fewer, [tables]) == []


@pytest.mark.parametrize("build", [build_tables, build_lists])
def test_what_is_built_does_not_depend_on_the_compiler(build: object, monkeypatch: pytest.MonkeyPatch) -> None:
    words = clustered(500, 1)
    first = build([rows_of(words)], 100, 400, 64)  # type: ignore[operator]
    monkeypatch.setattr(native, "kernels", None)
    second = build([rows_of(words)], 100, 400, 64)  # type: ignore[operator]
    for name in first.__dataclass_fields__.keys() - {"timings", "mapping"}:
        assert np.array_equal(getattr(first, name), getattr(second, name)), name


@pytest.fixture
def saved(tmp_path: Path) -> dict[str, Path]:
    words = clustered(2000, 2)
    parts = [rows_of(words)]
    for name, index in (
        ("tables", build_tables(parts, 0, 2000, 64)),
        ("lists", build_lists(parts, 0, 2000, 128)),
    ):
        save(index, tmp_path / name, "these rows")
    return {name: tmp_path / name for name in ("tables", "lists")}


@pytest.mark.parametrize("kind", ["tables", "lists"])
def test_a_saved_index_comes_back_the_same_and_as_large_as_foretold(saved: dict[str, Path], kind: str) -> None:
    words = clustered(2000, 2)
    parts = [rows_of(words)]
    opened = open_index(saved[kind], "these rows")
    bits = 64 if kind == "tables" else 128
    built = build_tables(parts, 0, 2000, 64) if kind == "tables" else build_lists(parts, 0, 2000, 128)
    for name in built.__dataclass_fields__.keys() - {"timings", "mapping"}:
        assert np.array_equal(getattr(opened, name), getattr(built, name)), name
    assert read_facts(saved[kind]).end == 2000
    foretold = tables_bytes(2000, bits) if kind == "tables" else lists_bytes(2000, bits)
    assert abs(saved[kind].stat().st_size - foretold) < 8192
    assert list(saved[kind].parent.glob("*.part")) == []


@pytest.mark.parametrize("kind", ["tables", "lists"])
def test_a_damaged_index_is_refused_by_name(saved: dict[str, Path], kind: str) -> None:
    file, sound = saved[kind], saved[kind].read_bytes()
    rng = np.random.default_rng(0)
    line = sound.index(b"\n")
    places = [*rng.integers(0, line, 10), *rng.integers(4096, len(sound), 20), len(sound) - 1]
    for place in places:
        damaged = bytearray(sound)
        damaged[place] ^= 0x10
        file.write_bytes(damaged)
        try:
            opened = open_index(file, "these rows")
        except LibraryError as error:
            assert str(file) in str(error)
            assert "build the index anew" in str(error)
        else:  # only bytes between two arrays mean nothing
            assert open_index(file, "these rows").n == opened.n
            assert damaged[place] == 0x10
    for length in (0, 10, line, 4096, len(sound) // 2, len(sound) - 64):
        file.write_bytes(sound[:length])
        with pytest.raises(LibraryError, match="build the index anew"):
            open_index(file, "these rows")


def test_an_index_of_other_rows_is_refused(saved: dict[str, Path]) -> None:
    with pytest.raises(LibraryError, match="other rows"):
        open_index(saved["tables"], "those rows")
    with pytest.raises(LibraryError, match="not usable"):
        open_index(saved["tables"].with_name("nowhere"), "these rows")


def with_header(file: Path, **changes: object) -> None:
    """A file whose first line lies, with a checksum that fits."""
    whole = file.read_bytes()
    line = whole[:4096].split(b"\n", 1)[0]
    magic, _, text = line.split(b" | ", 2)
    said = json.dumps({**json.loads(text), **changes}).encode()
    file.write_bytes((magic + f" | {zlib.crc32(said)} | ".encode() + said + b"\n").ljust(4096, b"\0") + whole[4096:])


@pytest.mark.parametrize(
    "changes",
    [
        {"n": 1999},
        {"n": 2001},
        {"n": -1},
        {"n": 2**40},
        {"first": "0"},
        {"path": "maps"},
        {"arrays": []},
        {"arrays": [["starts", "<u4", [4, 65537], 0, 0]]},
        {"arrays": [["starts", "<u4", [2**40, 2**40], 4096, 0]]},
        {"arrays": [["starts", "|O", [4, 65537], 4096, 0]]},
        {"arrays": 7},
        {"more": 1},
        {"bits": 48},
        {"bits": 0},
    ],
)
def test_a_header_that_lies_is_refused(saved: dict[str, Path], changes: dict) -> None:
    with_header(saved["tables"], **changes)
    with pytest.raises(LibraryError, match="build the index anew"):
        open_index(saved["tables"], "these rows")


@pytest.mark.parametrize("text", [b'"abc"', b"[" * 3900, b"{}", b"null", b"[[]]"])
def test_a_header_that_is_no_header_is_refused(saved: dict[str, Path], text: bytes) -> None:
    whole = saved["tables"].read_bytes()
    line = b"hashgrain index 1 | %d | " % zlib.crc32(text) + text + b"\n"
    saved["tables"].write_bytes(line.ljust(4096, b"\0") + whole[4096:])
    with pytest.raises(LibraryError, match="build the index anew"):
        open_index(saved["tables"], "these rows")


@pytest.mark.parametrize("wrong", ["u8 starts", "u4 codes", "five tables"])
def test_arrays_of_another_type_or_number_are_refused_before_a_kernel_sees_them(tmp_path: Path, wrong: str) -> None:
    index = build_tables([rows_of(clustered(300, 1))], 0, 300, 64)
    if wrong == "u8 starts":
        index = replace(index, starts=index.starts.astype(np.uint64))
    elif wrong == "u4 codes":
        index = replace(index, codes=index.codes.astype(np.uint32))
    else:
        five = {name: np.concatenate([getattr(index, name)] * 2)[:5] for name in ("starts", "codes", "rows")}
        index = replace(index, **five)
    save(index, tmp_path / "wrong", "these rows")
    with pytest.raises(LibraryError, match="build the index anew"):
        open_index(tmp_path / "wrong", "these rows")


@needs_kernels
def test_the_kernels_refuse_an_index_of_another_width() -> None:
    words = clustered(300, 2)
    parts = [rows_of(words)]
    narrow, lists = build_tables(parts, 0, 300, 32), build_lists(parts, 0, 300, 128)
    with pytest.raises(ValueError, match="out of range"):
        by_index(ask_nearest(words[:1], parts, 3, 64, None), parts, [narrow])
    with pytest.raises(ValueError, match="out of range"):
        by_index(ask_nearest(words[:1], parts, 3, 100, None), parts, [lists])


def test_of_indexes_that_overlap_only_those_that_do_not_are_used() -> None:
    words = clustered(500, 1)
    parts = [rows_of(words)]
    indexes: list[Index] = [build_tables(parts, 0, 300, 64), build_tables(parts, 100, 500, 32)]
    question = ask_nearest(words[150:151], parts, 20, 32, None)
    assert covering(question, parts, indexes) == indexes[:1]
    found = nearest(question.queries, parts, 20, bits=32, indexes=indexes)
    assert [listed(each) for each in found] == [listed(each) for each in plain.scan(question, parts)]


@needs_kernels
def test_row_numbers_that_lead_nowhere_are_passed_over() -> None:
    words = clustered(500, 1)
    parts = [rows_of(words)]
    index = build_tables(parts, 0, 500, 64)
    index.rows[:] = np.uint32(2**32 - 1)
    question = ask_nearest(words[:3], parts, 5, 64, None)
    assert [len(each) for each in by_index(question, parts, [index])] == [0, 0, 0]
    with pytest.raises(ValueError, match="past its own end"):
        native.kernels.sound_starts(np.array([0, 600], np.uint32), 2, 500)
    with pytest.raises(ValueError, match="past its own end"):
        native.kernels.sound_starts(np.array([3, 2, 400], np.uint32), 3, 500)


def test_without_kernels_an_index_is_no_use_and_no_harm(monkeypatch: pytest.MonkeyPatch) -> None:
    words = clustered(300, 1)
    parts = [rows_of(words)]
    index = build_tables(parts, 0, 300, 64)
    expected = [listed(each) for each in within(words[:4], parts, 8, bits=64)]
    monkeypatch.setattr(native, "kernels", None)
    assert [listed(each) for each in within(words[:4], parts, 8, bits=64, indexes=[index])] == expected


def timed(timings: PathTimings, way: str, ns: float) -> None:
    for _ in range(4):
        timings.record(way, (64, 4), ns)  # type: ignore[arg-type]


def test_a_slow_index_is_shared_among_threads_where_that_is_quicker() -> None:
    slow, kind = 1_000_000.0, (64, 4)
    timings = PathTimings()
    timed(timings, "index", slow)
    assert timings.way(kind, 10 * slow, can_share=False) == "index"
    assert timings.way(kind, 10 * slow, can_share=True) == "shared"
    timed(timings, "shared", 0.6 * slow)
    assert timings.way(kind, 10 * slow, can_share=True) == "shared"
    assert timings.way((64, 5), 10 * slow, can_share=True) == "index"  # another kind of question: nothing is known
    quick = PathTimings()
    timed(quick, "index", 10_000.0)
    assert quick.way(kind, slow, can_share=True) == "index"


def test_answers_of_other_threads_do_not_confuse_the_choice() -> None:
    timings, kind = PathTimings(), (64, 4)
    timings.answers["index", kind] = 9  # counted by others whose means are not written yet
    assert timings.way(kind, 1000.0) == "index"


def test_a_hopeless_way_is_hardly_ever_tried_again() -> None:
    timings, kind = PathTimings(), (64, 4)
    timed(timings, "index", 10.0)
    timed(timings, "scan", 1000.0)
    ways = [timings.way(kind, 1000.0) for _ in range(3000)]
    assert ways.count("scan") == 2


def test_one_slow_answer_does_not_condemn_an_index() -> None:
    timings, kind = PathTimings(), (64, 4)
    timings.record("index", kind, 1e9)  # the first, with everything still on disk
    assert timings.way(kind, 1000.0) == "index"
    timed(timings, "index", 100.0)
    timed(timings, "scan", 1000.0)
    timings.record("index", kind, 20_000.0)
    assert {timings.way(kind, 1000.0) for _ in range(100)} == {"scan", "index"}
    for _ in range(3):
        timings.record("index", kind, 100.0)
    assert timings.way(kind, 1000.0) == "index"
