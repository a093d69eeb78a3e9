"""What is more probable, the whole of an item or its nearest part, decides: as a brute force over all of them says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conftest import make_picture
from contracts.test_engine_of_a_library import GRAINS
from contracts.test_parts_of_a_library import MADE, asked_code, filled, right, seen
from hashgrain import Codes, Hit, Library
from hashgrain.errors import QueryError
from hashgrain.library import NamedQuery, search_several
from hashgrain.models import Calibration

pytestmark = pytest.mark.usefixtures("no_flushes")
Row = tuple[int, int, int, int]


@pytest.fixture(params=MADE)
def library(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    with Library.open(filled(tmp_path / "a.hg", 80), engine=MADE[request.param](GRAINS)) as opened:
        calibrate(opened)
        yield opened


def calibrate(library: Library) -> None:
    """Odds in steps, so that many distances are worth the same; those of parts fall sooner."""
    whole, part = {}, {}
    for grain, bits in GRAINS.items():
        at = np.arange(bits + 1)
        whole[grain] = Calibration({"near": bits // 4}, tuple((1 - at // 3 * 3 / (bits + 3)).tolist()))
        part[grain] = Calibration({"near": bits // 8}, tuple(np.maximum(0, 1.2 - at // 2 * 3 / (bits + 3)).tolist()))
    library.bundle = replace(library.bundle, calibration=whole, part_calibration=part)


def by_brute_force(library: Library, code: Codes, grain: str, within: int | None = None) -> list[Row]:
    """(distance, whole distance, item, part) of every item, the most probable first."""
    whole = np.array(library.bundle.calibration[grain].probabilities)
    part = np.minimum(whole, library.bundle.part_calibration[grain].probabilities)
    with library.store.snapshot() as snapshot:
        ids = [item.id for item in snapshot.paths()]
        wholes, others = snapshot.codes(ids), snapshot.parts_of(ids)
    best = []
    for item, own, parts in zip(ids, wholes, others, strict=True):
        words = own[None] if parts is None else np.concatenate([own[None], parts.codes])
        unlike = Codes(words ^ code.words[0], GRAINS)
        near = np.bitwise_count(unlike.at(grain).words).sum(axis=1)
        full = np.bitwise_count(unlike.words).sum(axis=1)
        rows = [
            (-(part if at else whole)[near[at]], int(near[at]), int(full[at]), item, at)
            for at in range(len(words))
            if within is None or near[at] <= within
        ]
        best += [min(rows)] if rows else []
    return [row[1:] for row in sorted(best)]


@pytest.mark.parametrize("k", [1, 3, 10, None])
def test_the_most_probable_of_whole_and_parts_comes_first(library: Library, k: int | None) -> None:
    code = asked_code(library)
    questions = [code, *(Codes(library.codes()[0].words[n : n + 1], GRAINS) for n in (3, 20, 41))]
    mixed = 0
    for grain in GRAINS:
        for question, many in zip(questions, library.search_many(questions, k=k, grain=grain), strict=True):
            expected = by_brute_force(library, question, grain)[:k]
            assert seen(library.search(question, k=k, grain=grain)) == expected
            assert seen(many) == expected
            mixed += expected != right(library, question, grain)[:k]
    assert mixed or k is not None  # the order of all is not that of distances alone


@pytest.mark.parametrize("n", [3, 9, 900])
def test_reranking_orders_the_most_probable_by_the_bits_of_what_matched(tmp_path: Path, n: int) -> None:
    with Library.create(tmp_path / "a.hg", "photo", workers=0) as library:
        pictures = [(f"{seed}.jpg", make_picture(seed, (300, 240))) for seed in range(12)]
        library.add(pictures[:8], detail="low")
        library.add(pictures[8:], parts=False)
        picture = make_picture(5, (300, 240)).crop((80, 60, 230, 180))
        every = library.search(picture, k=None)
        with library.store.snapshot() as snapshot:
            words = {(item.id, 0): snapshot.codes([item.id])[0] for item in snapshot.paths()}
            for item in [item.id for item in snapshot.paths()]:
                (parts,) = snapshot.parts_of([item])
                words |= {(item, at): code for at, code in enumerate(() if parts is None else parts.codes, 1)}
        opened = library.encoder.open(picture)
        outputs = library.encoder.outputs(opened.pixels[None])[0].astype(float)

        def agreement(hit: Hit) -> float:
            assert hit.part is not None
            bits = Codes(words[hit.id, hit.part.index][None], library.grains).bits()[0]
            return float((bits * 2.0 - 1) @ outputs)

        head = sorted(every[:n], key=lambda hit: (-round(agreement(hit), 4), hit.id))
        found = library.search(picture, k=None, rerank=n)
        assert [(hit.id, hit.part, hit.distance) for hit in found] == [
            (hit.id, hit.part, hit.distance) for hit in [*head, *every[n:]]
        ]
        assert [hit.id for hit in library.search(picture, k=2, rerank=n)] == [hit.id for hit in head[:2]]
        least = sorted(hit.score for hit in every)[6]
        close = library.search(picture, k=None, rerank=n, min_score=least)
        assert close == [hit for hit in found if hit.score >= least]
        assert 0 < len(close) < len(every)
        assert {bool(hit.part and hit.part.index) for hit in every} == {True, False}
        assert n < 9 or head != every[:n]


def test_within_a_distance_only_what_is_so_near_counts(library: Library) -> None:
    code = asked_code(library)
    for grain, bits in GRAINS.items():
        for within in (0, bits // 8, bits // 4):
            explained = library.explain(code, k=None, grain=grain, within=within)
            expected = by_brute_force(library, code, grain, within)
            assert seen(explained.hits) == expected
            assert explained.total == len(expected)
            assert seen(library.search(code, k=2, grain=grain, within=within)) == expected[:2]


def test_scores_fall_and_words_never_come_nearer(library: Library) -> None:
    ranks = {"same": 0, "near": 1, "related": 2, "far": 3}
    for grain in GRAINS:
        hits = library.search(asked_code(library), k=None, grain=grain)
        assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
        assert [ranks[hit.word] for hit in hits] == sorted(ranks[hit.word] for hit in hits)


def test_an_item_that_asks_is_left_out_whatever_part_of_it_is_near(library: Library) -> None:
    hits = library.search(5, k=None)
    assert 5 not in [hit.id for hit in hits]
    assert len(hits) == len(library) - 1


def test_without_odds_of_parts_wholes_alone_decide(library: Library) -> None:
    code = asked_code(library)
    whole = library.search(code, parts="whole")
    library.bundle = replace(library.bundle, part_calibration={})
    assert library.search(code) == whole
    assert all(hit.part is None for hit in whole)


@pytest.mark.parametrize("option", [{"weights": {"kind": 2.0}}, {"stages": [("kind", 20)]}])
def test_what_does_not_go_with_parts_asks_wholes(library: Library, option: dict[str, Any]) -> None:
    code = asked_code(library)
    grain = "kind" if "weights" in option else "look"
    assert library.search(code, grain=grain, **option) == library.search(code, grain=grain, parts="whole", **option)


def test_one_library_keeps_its_order_among_several_queries_and_several_refuse(library: Library) -> None:
    code = asked_code(library)
    (answer,) = search_several([library], [NamedQuery("", code)], k=12, parts="auto")
    assert [found.hit for found in answer] == library.search(code, k=12)
    with pytest.raises(QueryError, match="say of several whether parts count"):
        search_several([library, library], [NamedQuery("", code)], parts="auto")


def test_an_engine_without_parts_answers_with_wholes(tmp_path: Path) -> None:
    class WholesOnly:
        """What an engine was before items had parts."""

        def __init__(self, engine: Any) -> None:
            self._engine = engine

        def __getattr__(self, name: str) -> Any:
            return getattr(self._engine, name)

        def nearest(self, codes: Codes, k: int, *, grain: str, where: Any = None, weights: Any = None) -> Any:
            return self._engine.nearest(codes, k, grain=grain, where=where, weights=weights)

    make: Callable[..., Any] = MADE["numpy"]
    with Library.open(filled(tmp_path / "a.hg"), engine=WholesOnly(make(GRAINS))) as library:
        calibrate(library)
        code = asked_code(library)
        assert library.search(code) == library.search(code, parts="whole")
