"""Exact answers in the order of the house, on every path, against a slow and obvious oracle."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from hashgrain import Codes, Grains
from hashgrain.engines import EmbeddedEngine
from hashgrain.errors import CodesError, HashgrainError, QueryError
from hashgrain.hamming import Neighbours, compiled, merge, nearest, plain, scan, within
from hashgrain.store import Segment

Answer = list[tuple[int, int, int]]


def listed(found: Neighbours) -> Answer:
    return list(zip(found.ids.tolist(), found.distances.tolist(), found.full.tolist(), strict=True))


def oracle(query: NDArray[np.uint64], words: NDArray[np.uint64], ids: NDArray[np.int64], bits: int) -> Answer:
    def number(row: NDArray[np.uint64]) -> int:
        return sum(int(word) << (64 * i) for i, word in enumerate(row))

    asked, prefix = number(query), (1 << bits) - 1
    rows = [(i, number(row) ^ asked) for i, row in zip(ids.tolist(), words, strict=True)]
    found = [(i, (d & prefix).bit_count(), d.bit_count()) for i, d in rows]
    return sorted(found, key=lambda hit: (hit[1], hit[2], hit[0]))


@st.composite
def questions(draw: st.DrawFn) -> dict[str, object]:
    """Few distinct codes, so that ties abound; ids in any order; some rows dead."""
    n_words = draw(st.sampled_from([1, 2, 3, 4, 16]))
    n = draw(st.integers(0, 300))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    pool = rng.integers(0, 2**64, (draw(st.integers(1, 12)), n_words), np.uint64)
    flips = np.uint64(1) << rng.integers(0, 64, (n, n_words), np.uint64)
    words = pool[rng.integers(0, len(pool), n)] ^ np.where(rng.random((n, n_words)) < 0.3, flips, np.uint64(0))
    return {
        "query": pool[0],
        "words": words,
        "ids": rng.permutation(10 * n + 1)[:n].astype(np.int64),
        "bits": draw(st.integers(1, 64 * n_words)),
        "alive": rng.random(n) < 0.7 if draw(st.booleans()) else None,
    }


@settings(max_examples=150)
@given(questions(), st.integers(1, 400), st.data())
def test_both_scans_answer_as_the_oracle_does(asked: dict, k: int, data: st.DataObject) -> None:
    keep = asked["alive"] if asked["alive"] is not None else np.ones(len(asked["ids"]), bool)
    expected = oracle(asked["query"], asked["words"][keep], asked["ids"][keep], asked["bits"])
    assert listed(nearest(**asked, k=k)) == expected[:k]
    radius = data.draw(st.integers(0, asked["bits"]))
    inside = [hit for hit in expected if hit[1] <= radius]
    assert listed(within(**asked, radius=radius)) == inside
    twin = plain.scan(asked["query"], asked["words"], asked["ids"], asked["alive"], asked["bits"], k, 0)
    assert twin.tolist() == expected[:k]
    twin = plain.scan(asked["query"], asked["words"], asked["ids"], asked["alive"], asked["bits"], 0, radius)
    assert twin.tolist() == inside


@given(questions(), st.integers(1, 50), st.integers(0, 2**32 - 1))
def test_flipping_the_same_bits_everywhere_and_shuffling_rows_changes_nothing(asked: dict, k: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    mask = rng.integers(0, 2**64, asked["words"].shape[1], np.uint64)
    order = rng.permutation(len(asked["ids"]))
    changed = {
        **asked,
        "query": asked["query"] ^ mask,
        "words": asked["words"][order] ^ mask,
        "ids": asked["ids"][order],
        "alive": None if asked["alive"] is None else asked["alive"][order],
    }
    assert listed(nearest(**changed, k=k)) == listed(nearest(**asked, k=k))


@given(questions(), st.integers(1, 50), st.lists(st.integers(0, 300), max_size=4))
def test_any_split_into_parts_gives_the_same_answer(asked: dict, k: int, cuts: list[int]) -> None:
    edges = [0, *sorted(min(cut, len(asked["ids"])) for cut in cuts), len(asked["ids"])]
    alive = asked["alive"] if asked["alive"] is not None else np.ones(len(asked["ids"]), bool)
    parts = [slice(a, b) for a, b in pairwise(edges)]
    pieces = [
        nearest(asked["query"], asked["words"][p], asked["ids"][p], k, bits=asked["bits"], alive=alive[p])
        for p in parts
    ]
    assert listed(merge(pieces, k)) == listed(nearest(**asked, k=k))


def test_the_compiled_scan_is_in_use_where_it_was_built(monkeypatch: pytest.MonkeyPatch) -> None:
    words = np.arange(10, dtype=np.uint64)[:, None]
    ids = np.arange(10)
    fast = listed(nearest(words[3], words, ids, 4, bits=64))
    monkeypatch.setattr(scan, "_compiled", None)
    assert not compiled()
    assert listed(nearest(words[3], words, ids, 4, bits=64)) == fast


def test_many_callers_at_once_get_their_own_answers() -> None:
    rng = np.random.default_rng(0)
    words, ids = rng.integers(0, 2**64, (20_000, 2), np.uint64), np.arange(20_000)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda i: nearest(words[i], words, ids, 3, bits=128).ids[0], range(200)))
    assert found == list(range(200))


def test_rows_that_are_not_contiguous_are_read_right() -> None:
    wide = np.random.default_rng(0).integers(0, 2**64, (50, 4), np.uint64)
    ids = np.arange(100)[::2]
    apart = nearest(wide[7, ::2], wide[:, ::2], ids, 5, bits=100)
    assert listed(apart) == oracle(wide[7, ::2], wide[:, ::2], ids, 100)[:5]


@pytest.mark.parametrize(
    "changes",
    [
        {"k": 0},
        {"k": -3},
        {"k": 1.5},
        {"k": True},
        {"bits": 0},
        {"bits": 65},
        {"query": np.zeros(2, np.uint64)},
        {"query": np.zeros(1, np.int64)},
        {"words": np.zeros((5, 1), np.uint32)},
        {"words": np.zeros(5, np.uint64)},
        {"ids": np.arange(4)},
        {"ids": np.arange(5, dtype=np.int32)},
        {"alive": np.ones(4, bool)},
        {"alive": np.ones(5, np.uint8)},
    ],
)
def test_nonsense_is_refused_before_it_reaches_the_kernel(changes: dict) -> None:
    asked = {
        "query": np.zeros(1, np.uint64),
        "words": np.zeros((5, 1), np.uint64),
        "ids": np.arange(5),
        "k": 1,
        "bits": 64,
    }
    with pytest.raises((QueryError, CodesError)):
        nearest(**{**asked, **changes})


@pytest.mark.parametrize("radius", [-1, 65, 2.0, True])
def test_a_senseless_radius_is_refused(radius: object) -> None:
    with pytest.raises(QueryError):
        within(np.zeros(1, np.uint64), np.zeros((5, 1), np.uint64), np.arange(5), radius, bits=64)  # type: ignore[arg-type]


@pytest.mark.skipif(not compiled(), reason="the compiled scan is not installed here")
def test_the_kernel_itself_never_reads_past_a_buffer() -> None:
    from hashgrain.hamming import _scan

    words, ids = np.zeros((4, 2), np.uint64), np.arange(4)
    query, dead = np.zeros(2, np.uint64), np.zeros(1, np.uint8)
    for wrong in (
        (query[:1], words, ids, None, 2, 64, 1, 0),
        (query, words[:3], ids, None, 2, 64, 1, 0),
        (query, words, ids, dead[:0], 2, 64, 1, 0),
        (query, words, ids, None, 0, 64, 1, 0),
        (query, words, ids, None, 2, 129, 1, 0),
        (query, words, ids, None, 2, 64, -1, 0),
        (query, words, ids, None, 2**30, 64, 1, 0),
    ):
        with pytest.raises(ValueError):
            _scan.scan(*wrong)
    assert _scan.scan(query, words, ids, dead, 2, 64, 3, 0) == b""


GRAINS = Grains(kind=32, thing=64, look=128)


def engine(n: int = 200, parts: int = 3) -> tuple[EmbeddedEngine, Codes]:
    rng = np.random.default_rng(1)
    codes = Codes(rng.integers(0, 2**64, (n, 2), np.uint64), GRAINS)
    edges = np.linspace(0, n, parts + 1).astype(int)
    segments = [
        Segment(first_row=a, ids=np.arange(a, b), planes=tuple(codes.words[a:b].T), alive=np.arange(a, b) % 5 != 0)
        for a, b in pairwise(edges)
    ]
    return EmbeddedEngine(segments, GRAINS), codes


@pytest.mark.parametrize("grain", list(GRAINS))
def test_the_engine_answers_over_all_segments_without_the_dead(grain: str) -> None:
    embedded, codes = engine()
    live = np.flatnonzero(np.arange(200) % 5 != 0)
    for row, found in zip(codes.words[:5], embedded.nearest(codes[:5], 7, grain=grain), strict=True):
        assert listed(found) == oracle(row, codes.words[live], live, GRAINS[grain])[:7]


def test_the_engine_keeps_to_the_ids_it_is_given() -> None:
    embedded, codes = engine()
    kept = np.array([3, 5, 50, 111, 10_000])
    expected = oracle(codes.words[0], codes.words[[3, 111]], np.array([3, 111]), 128)
    assert listed(embedded.nearest(codes[0], 10, grain="look", where=kept)[0]) == expected
    assert listed(embedded.within(codes[0], 128, grain="look", where=kept)[0]) == expected
    assert listed(embedded.nearest(codes[0], 10, grain="look", where=kept[:0])[0]) == []


def test_the_engine_refuses_other_codes_grains_and_radii() -> None:
    embedded, codes = engine()
    with pytest.raises(CodesError, match="cannot be asked"):
        embedded.nearest(codes.at("thing"), 3, grain="thing")
    with pytest.raises(HashgrainError, match="kind, thing, look"):
        embedded.nearest(codes[0], 3, grain="nose")
    with pytest.raises(QueryError):
        EmbeddedEngine([], GRAINS).within(codes[0], 129, grain="look")
    assert listed(EmbeddedEngine([], GRAINS).nearest(codes[0], 3, grain="look")[0]) == []
