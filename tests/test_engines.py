"""The engine: all segments of a snapshot, without the dead, cut to a filter, by scan or by index."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from hamming_questions import Answer, Asked, listed
from hashgrain import Codes, Grains
from hashgrain.engines import EmbeddedEngine, filter_rows
from hashgrain.errors import CodesError, HashgrainError, QueryError
from hashgrain.hamming import build_lists, build_tables, nearest, rows_of
from hashgrain.store import Segment


def oracle(query: NDArray[np.uint64], words: NDArray[np.uint64], ids: NDArray[np.int64], bits: int) -> Answer:
    return Asked(query[None], words, ids, None, bits, []).oracle(0)


GRAINS = Grains(kind=32, thing=64, look=128)


def engine(n: int = 200, parts: int = 3) -> tuple[EmbeddedEngine, Codes]:
    rng = np.random.default_rng(1)
    codes = Codes(rng.integers(0, 2**64, (n, 2), np.uint64), GRAINS)
    edges = np.linspace(0, n, parts + 1).astype(int)
    segments = []
    for a, b in pairwise(edges):
        planes = tuple(np.ascontiguousarray(codes.words[a:b, w]) for w in range(2))
        segments.append(Segment(first_row=a, ids=np.arange(a, b), planes=planes, alive=np.arange(a, b) % 5 != 0))
    return EmbeddedEngine(segments, GRAINS), codes


@pytest.mark.parametrize("grain", list(GRAINS))
def test_the_engine_answers_over_all_segments_without_the_dead(grain: str) -> None:
    embedded, codes = engine()
    live = np.flatnonzero(np.arange(200) % 5 != 0)
    for row, neighbours in zip(codes.words[:5], embedded.nearest(codes[:5], 7, grain=grain), strict=True):
        assert listed(neighbours) == oracle(row, codes.words[live], live, GRAINS[grain])[:7]


def test_the_engine_keeps_to_the_ids_it_is_given() -> None:
    embedded, codes = engine()
    selected = np.array([3, 5, 50, 111, 10_000])
    expected = oracle(codes.words[0], codes.words[[3, 111]], np.array([3, 111]), 128)
    assert listed(embedded.nearest(codes[0], 10, grain="look", where=selected)[0]) == expected
    assert listed(embedded.within(codes[0], 128, grain="look", where=selected)[0]) == expected
    assert listed(embedded.nearest(codes[0], 10, grain="look", where=selected[:0])[0]) == []


def test_the_engine_refuses_other_codes_grains_and_radii() -> None:
    embedded, codes = engine()
    with pytest.raises(CodesError, match="cannot be asked"):
        embedded.nearest(codes.at("thing"), 3, grain="thing")
    with pytest.raises(HashgrainError, match="kind, thing, look"):
        embedded.nearest(codes[0], 3, grain="nose")
    with pytest.raises(QueryError):
        EmbeddedEngine([], GRAINS).within(codes[0], 129, grain="look")
    assert listed(EmbeddedEngine([], GRAINS).nearest(codes[0], 3, grain="look")[0]) == []


def test_a_filter_gives_the_same_whether_rows_are_gathered_or_masked(monkeypatch: pytest.MonkeyPatch) -> None:
    embedded, codes = engine(n=3000)
    where = np.sort(np.random.default_rng(0).choice(3000, 40, replace=False))
    gathered = listed(embedded.nearest(codes[0], 50, grain="thing", where=where)[0])
    monkeypatch.setattr("hashgrain.engines.filters.GATHER_SHARE", 0.0)
    assert listed(embedded.nearest(codes[0], 50, grain="thing", where=where)[0]) == gathered
    assert {hit[0] for hit in gathered} == {i for i in where.tolist() if i % 5}


@pytest.mark.parametrize("ids", [np.arange(100) * 3, np.random.default_rng(0).permutation(100), np.arange(100) + 7])
@pytest.mark.parametrize("few", [0.0, 1.0])
def test_a_filter_finds_its_rows_whatever_the_ids(
    ids: NDArray[np.int64], few: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hashgrain.engines.filters.GATHER_SHARE", few)
    monkeypatch.setattr("hashgrain.engines.filters.MAX_GATHER_SHARE", few)
    words = np.random.default_rng(1).integers(0, 2**64, (100, 2), np.uint64)
    alive = np.arange(100) % 4 > 0
    where = np.unique(np.concatenate([ids[10:40], [-5, 2, 10**6]]))
    (neighbours,) = nearest(words[:1], filter_rows([rows_of(words, ids, alive)], where), 100, bits=128)
    selected = alive & np.isin(ids, where)
    assert listed(neighbours) == oracle(words[0], words[selected], ids[selected], 128)


def test_weights_are_given_by_grain() -> None:
    embedded, codes = engine()
    (neighbours,) = embedded.nearest(codes[3], 5, grain="thing", weights={"kind": 4.0, "thing": 1.0})
    differing = codes.words[:, 0] ^ codes.words[3, 0]
    low = np.bitwise_count(differing & np.uint64(0xFFFFFFFF)).astype(int)
    high = np.bitwise_count(differing >> np.uint64(32)).astype(int)
    live = [i for i in range(200) if i % 5]
    full = np.bitwise_count(codes.words ^ codes.words[3]).sum(axis=1)
    expected = sorted(live, key=lambda i: (4 * low[i] + high[i], full[i], i))[:5]
    assert neighbours.ids.tolist() == expected
    assert neighbours.distances.tolist() == [4.0 * low[i] + high[i] for i in expected]
    with pytest.raises(QueryError, match="kind, thing"):
        embedded.nearest(codes[3], 5, grain="thing", weights={"thing": 1.0})


def test_all_pairs_of_items_come_from_the_engine_too() -> None:
    embedded, codes = engine(n=60)
    pairs = sorted(
        pair
        for chunk in embedded.join(20, grain="kind")
        for pair in zip(chunk.first.tolist(), chunk.second.tolist(), strict=True)
    )
    kind = codes.words[:, 0] & np.uint64(0xFFFFFFFF)
    live = [i for i in range(60) if i % 5]
    expected = [(i, j) for i in live for j in live if i < j and int(kind[i] ^ kind[j]).bit_count() <= 20]
    assert pairs == expected
    with pytest.raises(QueryError):
        next(iter(embedded.join(33, grain="kind")))


def test_a_code_narrower_than_its_words_is_compared_whole_and_by_index() -> None:
    grains = Grains(thing=20, look=100)
    bits = np.random.default_rng(0).integers(0, 2, (400, 100))
    codes = Codes.from_bits(bits, grains)
    parts = [rows_of(codes.words)]
    index = build_lists(parts, 0, 400, 128)
    for grain in grains:
        (plainly,) = EmbeddedEngine(parts, grains).nearest(codes[5], 30, grain=grain)
        (indexed,) = EmbeddedEngine(parts, grains, [index]).nearest(codes[5], 30, grain=grain)
        assert (
            listed(plainly)
            == listed(indexed)
            == oracle(codes.words[5], codes.words, np.arange(400), grains[grain])[:30]
        )


def test_an_index_never_takes_rows_picked_by_a_filter_for_its_own() -> None:
    words = np.random.default_rng(0).integers(0, 2**64, (2000, 2), np.uint64)
    parts = [rows_of(words)]
    indexes = [build_tables(parts, 0, 20, 64), build_tables(parts, 20, 100, 64)]  # fewer rows than the filter keeps
    grains = Grains(thing=64, look=128)
    where = np.arange(1000, 1030)  # so few are picked out
    engine_ = EmbeddedEngine(parts, grains, indexes)
    (neighbours,) = engine_.nearest(Codes(words[:1], grains), 7, grain="thing", where=where)
    assert listed(neighbours) == oracle(words[0], words[where], where, 64)[:7]
    assert neighbours.cost.rows == 30
