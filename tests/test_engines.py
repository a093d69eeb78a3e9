"""The engine: all segments of a snapshot, without the dead, cut to a filter, by scan or by index."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from hamming_questions import Answer, Asked, listed
from hashgrain import Codes, Grains
from hashgrain.engines import EmbeddedEngine
from hashgrain.errors import CodesError, HashgrainError, QueryError
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
