"""Items have parts, and every engine answers with each item once, by its nearest part, to the last tie."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from contracts.test_engines import ENGINES, GRAINS, Made, near, over_segments
from hamming_questions import number
from hashgrain import Codes
from hashgrain.engines import EmbeddedEngine, Engine, grouping, takes_part_radii
from hashgrain.engines.grouping import PartRows
from hashgrain.engines.part_rows import count_rows
from hashgrain.errors import CodesError, QueryError
from hashgrain.hamming import Neighbours
from hashgrain.store import Change
from plain_engine import NumpyEngine

Answer = list[tuple[int, int, float, int]]  # item, part, distance, distance over the whole code
Parts = dict[int, NDArray[np.uint64]]  # item -> codes of its parts 0, 1, ...


@pytest.fixture(params=ENGINES)
def make(request: pytest.FixtureRequest) -> Made:
    return ENGINES[request.param]


# ---- what happened, and what must be answered


def history(seed: int = 0, n: int = 120) -> list[Change]:
    """Items of 0 to 40 parts come, change and go. Codes are few, so that items tie, and parts of one item, too."""
    rng = np.random.default_rng(seed)
    pool = rng.integers(0, 2**64, (12, 2), np.uint64)
    changes: list[Change] = []
    present: list[int] = []

    def record(kind: str, item: int) -> None:
        count = int(rng.choice([0, 0, 1, 2, 7, 30, 40]))
        parts = [near(pool[: 1 + item % 12], rng) for _ in range(count)]  # of some items all are alike
        codes = np.array(parts, np.uint64) if parts else None
        changes.append(Change(len(changes) + 1, kind, item, near(pool, rng), codes))  # type: ignore[arg-type]

    for item in (rng.permutation(5 * n)[:n] + 1).tolist():
        actions = rng.random(2)
        record("added", item)
        present.append(item)
        if actions[0] < 0.3:
            record("changed", present[rng.integers(len(present))])
        if actions[1] < 0.3:
            removed = present.pop(rng.integers(len(present)))
            changes.append(Change(len(changes) + 1, "removed", removed, None))
    return changes


def replayed(changes: Sequence[Change]) -> Parts:
    present: Parts = {}
    for change in changes:
        present.pop(change.item, None)
        if change.code is not None:
            parts = np.empty((0, 2), np.uint64) if change.parts is None else change.parts
            present[change.item] = np.concatenate([change.code[None], parts])
    return present


CHANGES = history()
THERE = replayed(CHANGES)
QUERIES = Codes(np.array([*(codes[-1] for codes in list(THERE.values())[:5]), [7, 9]], np.uint64), GRAINS)


def right(
    query: int,
    grain: str,
    where: Sequence[int] | None = None,
    weights: dict[str, float] | None = None,
    part_radius: int | None = None,
) -> Answer:
    """Every item by its nearest part, in order, by counting bits of whole Python numbers."""
    asked = number(QUERIES.words[query])
    edges = [0, *GRAINS.up_to(grain).values()]
    counts = [1] * len(edges) if weights is None else [*weights.values()]
    best = []
    for item, codes in THERE.items():
        if where is not None and item not in where:
            continue
        rows = []
        for part, code in enumerate(codes):
            unlike = number(code) ^ asked
            shares = zip(counts, edges[:-1], edges[1:], strict=False)
            distance = sum(count * (unlike >> a & (1 << b - a) - 1).bit_count() for count, a, b in shares)
            if part == 0 or part_radius is None or distance <= part_radius:
                rows.append((distance, unlike.bit_count(), item, part))
        best.append(min(rows))
    return [(item, part, distance, full) for distance, full, item, part in sorted(best)]


def listed(neighbours: Neighbours) -> Answer:
    assert neighbours.parts is not None
    columns = (neighbours.ids, neighbours.parts, neighbours.distances, neighbours.full)
    return list(zip(*(column.tolist() for column in columns), strict=True))


# ---- the cases


def test_the_history_has_what_grouping_has_to_cope_with() -> None:
    counts = [len(codes) - 1 for codes in THERE.values()]
    assert min(counts) == 0
    assert max(counts) == 40
    parts = [part for _, part, _, _ in right(0, "kind")]
    assert parts.count(0) > 10
    assert len([part for part in parts if part]) > 20
    keys = [(distance, full) for _, _, distance, full in right(0, "look")]
    assert len(set(keys)) < len(keys) / 2  # ties between items
    codes = next(codes for codes in THERE.values() if len(codes) == 41)
    assert len(np.unique(codes, axis=0)) < 41  # and between parts of one


@pytest.mark.parametrize("grain", list(GRAINS))
@pytest.mark.parametrize("k", [1, 3, 7, 30])
def test_the_nearest_items_come_by_their_best_part_then_id_then_part(make: Made, grain: str, k: int) -> None:
    answers = make(CHANGES).nearest(QUERIES, k, grain=grain, parts="all")
    assert [listed(neighbours) for neighbours in answers] == [right(query, grain)[:k] for query in range(len(QUERIES))]
    assert [neighbours.total for neighbours in answers] == [k] * len(QUERIES)


def test_every_cut_between_tied_items_is_made_by_id(make: Made) -> None:
    engine, expected = make(CHANGES), right(1, "kind")
    for k in range(1, len(THERE) + 1):
        assert listed(engine.nearest(QUERIES[1], k, grain="kind", parts="all")[0]) == expected[:k]


def test_k_past_the_end_gives_every_item_once(make: Made) -> None:
    (neighbours,) = make(CHANGES).nearest(QUERIES[0], 10_000, grain="thing", parts="all")
    assert listed(neighbours) == right(0, "thing")
    assert neighbours.total == len(THERE)


@pytest.mark.parametrize("grain", list(GRAINS))
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 1.0])
@pytest.mark.parametrize("cap", [None, 1, 5, 10_000])
def test_items_within_a_radius_are_counted_once(make: Made, grain: str, share: float, cap: int | None) -> None:
    radius = int(share * GRAINS[grain])
    answers = make(CHANGES).within(QUERIES, radius, grain=grain, parts="all", cap=cap)
    for query, neighbours in enumerate(answers):
        expected = [hit for hit in right(query, grain) if hit[2] <= radius]
        assert listed(neighbours) == expected[:cap]
        assert neighbours.total == len(expected)


@pytest.mark.parametrize("every", [1, 2, 30])
def test_a_filter_keeps_to_the_parts_of_its_items(make: Made, every: int) -> None:
    engine = make(CHANGES)
    where = np.unique([*sorted(THERE)[::every], 10**6, 10**7])
    for query, neighbours in enumerate(engine.nearest(QUERIES, 9, grain="kind", parts="all", where=where)):
        assert listed(neighbours) == right(query, "kind", where.tolist())[:9]
    (neighbours,) = engine.within(QUERIES[0], 5, grain="kind", parts="all", where=where)
    assert listed(neighbours) == [hit for hit in right(0, "kind", where.tolist()) if hit[2] <= 5]
    nothing = np.empty(0, np.int64)
    neighbours, *_ = engine.nearest(QUERIES, 3, grain="look", parts="all", where=nothing)
    assert listed(neighbours) == []


def test_parts_that_were_removed_or_replaced_answer_nothing(make: Made) -> None:
    engine = make(CHANGES)
    removed = np.array(sorted({change.item for change in CHANGES} - set(THERE)), np.int64)
    assert len(removed) > 20
    assert len(engine.nearest(QUERIES[0], 9, grain="look", parts="all", where=removed)[0]) == 0
    item = next(item for item, codes in THERE.items() if len(codes) > 20)
    last = Change(len(CHANGES) + 1, "changed", item, THERE[item][0], None)
    engine.apply([last])
    asked = Codes(THERE[item][5][None], GRAINS)
    (neighbours,) = engine.nearest(asked, 1, grain="look", parts="all", where=np.array([item]))
    assert neighbours.parts is not None
    assert (neighbours.ids.tolist(), neighbours.parts.tolist()) == ([item], [0])


@pytest.mark.parametrize(
    ("grain", "weights"),
    [("thing", {"kind": 0.0, "thing": 1.0}), ("look", {"kind": 2.0, "thing": 0.5, "look": 0.25})],
)  # fmt: skip
def test_weights_choose_the_part_too(make: Made, grain: str, weights: dict[str, float]) -> None:
    for query, neighbours in enumerate(make(CHANGES).nearest(QUERIES, 9, grain=grain, parts="all", weights=weights)):
        assert listed(neighbours) == right(query, grain, weights=weights)[:9]


@pytest.mark.parametrize("grain", list(GRAINS))
def test_outputs_order_items_by_the_part_that_agrees_best(make: Made, grain: str) -> None:
    rng = np.random.default_rng(3)
    sure = rng.choice([-4.0, -2.0, -1.0, 0.0, 1.0, 2.0, 4.0], GRAINS.bits).astype(np.float32)
    counted = sure[: GRAINS[grain]].astype(int).tolist()
    engine = make(CHANGES)
    for where in (None, np.array(sorted(THERE)[::3], np.int64)):
        expected = []
        for item, codes in THERE.items():
            if where is None or item in where:
                signs = [[1 if number(code) >> bit & 1 else -1 for bit in range(len(counted))] for code in codes]
                scores = [sum(a * b for a, b in zip(row, counted, strict=True)) for row in signs]
                expected.append((-max(scores), item, scores.index(max(scores))))
        best, _ = engine.agreeing(sure, 25, grain=grain, parts="all", where=where)
        assert best.parts is not None
        assert list(zip(best.ids.tolist(), best.parts.tolist(), strict=True)) == [
            (item, part) for _, item, part in sorted(expected)[:25]
        ]


@pytest.mark.parametrize("grain", list(GRAINS))
@pytest.mark.parametrize("k", [1, 7, 30, 10_000])
def test_parts_that_are_too_far_count_as_if_they_were_not_there(make: Made, grain: str, k: int) -> None:
    engine = make(CHANGES)
    assert takes_part_radii(engine)
    bits, where = GRAINS[grain], np.array(sorted(THERE)[::2], np.int64)
    radii = [-1, 0, 3, bits // 8, bits // 3, bits][: len(QUERIES)]
    for among in (None, where):
        answers = engine.nearest(QUERIES, k, grain=grain, parts="all", where=among, part_radii=radii)
        for query, (neighbours, radius) in enumerate(zip(answers, radii, strict=True)):
            kept = None if among is None else among.tolist()
            assert listed(neighbours) == right(query, grain, kept, part_radius=radius)[:k]
    with pytest.raises(QueryError):
        engine.nearest(QUERIES, k, grain=grain, parts="all", part_radii=[1])
    with pytest.raises(QueryError):
        engine.nearest(QUERIES[0], k, grain="kind", parts="all", part_radii=[1], weights={"kind": 2.0})


def test_without_parts_the_answer_is_that_of_whole_codes(make: Made) -> None:
    changes = [change._replace(parts=None) for change in CHANGES]
    engine = make(changes)
    for grain in GRAINS:
        whole = engine.nearest(QUERIES, 20, grain=grain)
        for neighbours, other in zip(engine.nearest(QUERIES, 20, grain=grain, parts="all"), whole, strict=True):
            assert other.parts is None
            assert neighbours.parts is not None
            assert not neighbours.parts.any()
            assert neighbours.ids.tolist() == other.ids.tolist()


def test_whole_codes_alone_are_asked_unless_parts_are_asked_for(make: Made) -> None:
    engine, bare = make(CHANGES), make([change._replace(parts=None) for change in CHANGES])
    for neighbours, other in zip(
        engine.nearest(QUERIES, 20, grain="kind"), bare.nearest(QUERIES, 20, grain="kind"), strict=True
    ):
        assert neighbours.ids.tolist() == other.ids.tolist()
    (neighbours,) = engine.within(QUERIES[0], 4, grain="kind")
    (other,) = bare.within(QUERIES[0], 4, grain="kind")
    assert neighbours.ids.tolist() == other.ids.tolist()
    assert neighbours.parts is None


def test_an_empty_engine_has_no_parts(make: Made) -> None:
    engine = make([])
    assert [listed(neighbours) for neighbours in engine.nearest(QUERIES[:2], 3, grain="kind", parts="all")] == [[], []]
    assert listed(engine.within(QUERIES[0], 128, grain="look", parts="all")[0]) == []
    assert engine.agreeing(np.ones(128, np.float32), 3, grain="look", parts="all")[0].ids.tolist() == []
    assert engine.nearest(QUERIES[:0], 3, grain="kind", parts="all") == []


@pytest.mark.parametrize("cut", [1, 60, len(CHANGES) - 1])
def test_an_engine_behind_the_log_catches_up_with_the_parts(make: Made, cut: int) -> None:
    engine = make(CHANGES[:cut])
    engine.apply(CHANGES[cut:])
    engine.apply(CHANGES[:50])  # told twice
    assert listed(engine.nearest(QUERIES[0], 10_000, grain="thing", parts="all")[0]) == right(0, "thing")


def test_changes_applied_one_by_one_come_to_the_same_parts(make: Made) -> None:
    engine = make(CHANGES[:5])
    for change in CHANGES[5:65]:
        engine.apply(iter([change]))
    engine.apply(CHANGES)
    assert listed(engine.nearest(QUERIES[0], 10_000, grain="look", parts="all")[0]) == right(0, "look")


def test_the_last_part_and_the_last_item_there_can_be_answer_as_others(make: Made) -> None:
    """Part 65,535 of item 2**47 - 1, whose row has the highest id there is."""
    rng = np.random.default_rng(5)
    items = [1, 2**47 - 2, 2**47 - 1]
    codes = rng.integers(0, 2**64, (65_535, 2), np.uint64)
    asked = Codes(codes[-1:], GRAINS)
    wholes = rng.integers(0, 2**64, (3, 2), np.uint64)
    parts = [codes[:3], codes[:1], codes]
    engine = make([Change(n, "added", items[n - 1], wholes[n - 1], parts[n - 1]) for n in (1, 2, 3)])
    (neighbours,) = engine.nearest(asked, 3, grain="look", parts="all")
    assert neighbours.parts is not None
    assert (neighbours.ids[0], neighbours.parts[0], neighbours.full[0], len(neighbours)) == (2**47 - 1, 65_535, 0, 3)
    (neighbours,) = engine.within(asked, 0, grain="look", parts="all", where=np.array(items))
    assert listed(neighbours) == [(2**47 - 1, 65_535, 0, 0)]


def test_what_makes_no_sense_of_parts_is_refused(make: Made) -> None:
    engine = make(CHANGES)
    with pytest.raises(QueryError, match="parts"):
        engine.nearest(QUERIES, 3, grain="kind", parts="some")  # type: ignore[arg-type]
    with pytest.raises(QueryError, match="parts"):
        engine.within(QUERIES, 3, grain="kind", parts="some")  # type: ignore[arg-type]
    with pytest.raises(QueryError):
        engine.nearest(QUERIES, 0, grain="kind", parts="all")


# ---- how the embedded engine comes to it


def test_rows_are_asked_for_until_there_are_enough_items_among_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PartRows, "_first", lambda self, k: 1)
    engine = over_segments(CHANGES)
    answers = engine.nearest(QUERIES, 7, grain="look", parts="all")
    assert [listed(neighbours) for neighbours in answers] == [right(query, "look")[:7] for query in range(len(QUERIES))]
    widenings = [neighbours.cost.parts.widenings for neighbours in answers if neighbours.cost.parts]
    assert max(widenings) >= 1
    expected = [hit for hit in right(0, "kind") if hit[2] <= 5]
    (neighbours,) = engine.within(QUERIES[0], 5, grain="kind", parts="all")
    assert listed(neighbours) == expected


@pytest.mark.parametrize(("first", "most"), [(1, 1), (1, 20), (300, 200)])
def test_where_too_many_rows_are_of_one_item_all_are_looked_at_some_at_a_time(
    monkeypatch: pytest.MonkeyPatch, first: int, most: int
) -> None:
    monkeypatch.setattr(PartRows, "_first", lambda self, k: first)
    monkeypatch.setattr(grouping, "MAX_ROWS_ASKED", most)
    for indexed in (False, True):
        engine = over_segments(CHANGES, indexed=indexed)
        for grain in GRAINS:
            (neighbours,) = engine.nearest(QUERIES[0], 50, grain=grain, parts="all")
            assert listed(neighbours) == right(0, grain)[:50]
            (neighbours,) = engine.within(QUERIES[0], GRAINS[grain] // 2, grain=grain, parts="all", cap=9)
            assert listed(neighbours) == [hit for hit in right(0, grain) if hit[2] <= GRAINS[grain] // 2][:9]


def test_queries_share_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grouping, "MAX_ROWS_IN_MEMORY", 2)
    answers = over_segments(CHANGES).nearest(QUERIES, 9, grain="kind", parts="all")
    assert [listed(neighbours) for neighbours in answers] == [right(query, "kind")[:9] for query in range(len(QUERIES))]


def test_the_account_tells_of_rows_of_parts_apart() -> None:
    engine = over_segments(CHANGES)
    (whole,) = engine.nearest(QUERIES[0], 5, grain="kind")
    (neighbours,) = engine.nearest(QUERIES[0], 5, grain="kind", parts="all")
    assert whole.cost.parts is None
    assert neighbours.cost.parts is not None
    assert neighbours.cost.rows == whole.cost.rows
    assert isinstance(engine, EmbeddedEngine)
    assert neighbours.cost.parts.rows == count_rows(engine.part_segments) * (1 + neighbours.cost.parts.widenings)
    assert neighbours.cost.parts.bytes > 0


def test_codes_of_parts_that_do_not_fit_are_refused() -> None:
    engine = EmbeddedEngine([], GRAINS)
    for codes in (np.zeros((3, 3), np.uint64), np.zeros(2, np.uint64), np.zeros((65_536, 2), np.uint64)):
        with pytest.raises(CodesError, match="parts"):
            engine.apply([Change(1, "added", 1, np.zeros(2, np.uint64), codes)])
    assert engine.sequence == 0


def test_random_histories_are_answered_alike_by_both_engines() -> None:
    for seed in range(1, 6):
        changes = history(seed, n=40)
        made: list[Engine] = [over_segments(changes, indexed=bool(seed % 2)), NumpyEngine(GRAINS)]
        made[1].apply(changes)
        for grain in GRAINS:
            for k in (1, 6, 25):
                one, other = (engine.nearest(QUERIES, k, grain=grain, parts="all") for engine in made)
                assert [listed(neighbours) for neighbours in one] == [listed(neighbours) for neighbours in other]
