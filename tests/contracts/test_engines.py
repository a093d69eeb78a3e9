"""Every engine answers as every other, to the last tie. To have an engine of yours asked, add a line to ENGINES."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from databases import in_clickhouse, in_postgresql
from hamming_questions import Answer, Asked, listed, number
from hashgrain import Codes, Grains
from hashgrain.engines import EmbeddedEngine, Engine
from hashgrain.engines import protocol as protocol_module
from hashgrain.engines.part_rows import row_ids
from hashgrain.errors import CodesError, QueryError
from hashgrain.hamming import Run, build_lists, build_tables, rows_of
from hashgrain.store import Change
from plain_engine import NumpyEngine

GRAINS = Grains(kind=16, thing=40, look=128)
Made = Callable[[Sequence[Change]], Engine]


def fed(engine: Engine, changes: Sequence[Change]) -> Engine:
    engine.apply(changes)
    return engine


def over_segments(changes: Sequence[Change], *, indexed: bool = False, grains: Grains = GRAINS) -> Engine:
    """As a library has it: the first half of the changes as segments with dead rows, the others applied after."""
    half = changes[: len(changes) // 2]
    there = dict(replayed(half))
    items = np.array([each.item for each in half if each.code is not None], np.int64)
    words = np.array([each.code for each in half if each.code is not None], np.uint64).reshape(
        len(items), grains.n_words
    )
    newest = np.array([there.get(item) is code for item, code in last_rows(half)], np.bool_)
    cut = len(items) // 3
    segments = [
        rows_of(words[low:high], items[low:high], newest[low:high], first_row=low)
        for low, high in ((0, cut), (cut, len(items)))
    ]
    parts = part_segments(half)
    sequence = half[-1].number if half else 0
    if not indexed:
        return fed(EmbeddedEngine(segments, grains, sequence=sequence, part_segments=parts), changes)
    bits, rows = 64 * grains.n_words, sum(len(segment.ids) for segment in parts)
    indexes = [build_tables(segments, 0, len(items), 64), build_lists(segments, 0, len(items), bits)]
    part_indexes = [build_tables(parts, 0, rows, 64), build_lists(parts, 0, rows // 2, bits)] if rows else []
    return fed(EmbeddedEngine(segments, grains, indexes, None, sequence, parts, part_indexes), changes)


def part_segments(changes: Sequence[Change]) -> list[Run]:
    """Rows of parts in the order in which they came, those that were replaced or removed dead."""
    with_parts = [each for each in changes if each.parts is not None]
    if not with_parts:
        return []
    last = {each.item: each.number for each in changes}
    sizes = [len(each.parts) for each in with_parts if each.parts is not None]
    words = np.concatenate([each.parts for each in with_parts if each.parts is not None])
    ids = np.concatenate([row_ids(each.item, size) for each, size in zip(with_parts, sizes, strict=True)])
    alive = np.repeat([last[each.item] == each.number for each in with_parts], sizes)
    cut = len(ids) // 3
    return [rows_of(words[a:b], ids[a:b], alive[a:b], first_row=a) for a, b in ((0, cut), (cut, len(ids)))]


def last_rows(changes: Sequence[Change]) -> Iterator[tuple[int, object]]:
    for each in changes:
        if each.code is not None:
            yield each.item, each.code


ENGINES: dict[str, Made] = {
    "embedded": lambda changes: fed(EmbeddedEngine([], GRAINS), changes),
    "embedded over segments": over_segments,
    "embedded with indexes": lambda changes: over_segments(changes, indexed=True) if changes else over_segments([]),
    "numpy": lambda changes: fed(NumpyEngine(GRAINS), changes),
    "postgresql": lambda changes: in_postgresql(GRAINS, changes),
    "clickhouse": lambda changes: in_clickhouse(GRAINS, changes),
}


@pytest.fixture(params=ENGINES)
def make(request: pytest.FixtureRequest) -> Made:
    return ENGINES[request.param]


# ---- what happened, and what must be answered


def history(seed: int = 0, n: int = 150) -> list[Change]:
    """Items come, change and go in an order of no kind; a dozen codes and their neighbours, so that ties abound."""
    rng = np.random.default_rng(seed)
    pool = rng.integers(0, 2**64, (12, 2), np.uint64)
    ids = rng.permutation(5 * n)[:n] + 1
    changes: list[Change] = []
    there: list[int] = []
    for item in ids.tolist():
        actions = rng.random(2)
        changes.append(Change(len(changes) + 1, "added", item, near(pool, rng)))
        there.append(item)
        if actions[0] < 0.3:
            changes.append(Change(len(changes) + 1, "changed", there[rng.integers(len(there))], near(pool, rng)))
        if actions[1] < 0.3:
            gone = there.pop(rng.integers(len(there)))
            changes.append(Change(len(changes) + 1, "removed", gone, None))
    return changes


def near(pool: NDArray[np.uint64], rng: np.random.Generator) -> NDArray[np.uint64]:
    flips = np.uint64(1) << rng.integers(0, 64, 2, np.uint64)
    return np.asarray(pool[rng.integers(len(pool))] ^ np.where(rng.random(2) < 0.3, flips, np.uint64(0)))


def replayed(changes: Sequence[Change]) -> dict[int, NDArray[np.uint64]]:
    """item -> code after all of them."""
    there: dict[int, NDArray[np.uint64]] = {}
    for change in changes:
        there.pop(change.item, None)
        if change.code is not None:
            there[change.item] = change.code
    return there


CHANGES = history()
THERE = replayed(CHANGES)
QUERIES = Codes(np.array([*list(THERE.values())[:4], [7, 9]], np.uint64), GRAINS)


def right(query: int, grain: str, where: Sequence[int] | None = None) -> Answer:
    """Every item in order, by counting bits of whole Python numbers."""
    selected = [item for item in THERE if where is None or item in where]
    words = np.array([THERE[item] for item in selected], np.uint64).reshape(len(selected), 2)
    asked = Asked(QUERIES.words, words, np.array(selected, np.int64), None, GRAINS[grain], [])
    return asked.oracle(query)


# ---- the cases


def test_the_history_has_what_engines_have_to_cope_with() -> None:
    kinds = [change.kind for change in CHANGES]
    assert min(kinds.count(kind) for kind in ("added", "changed", "removed")) > 20
    distances = [distance for _, distance, _ in right(0, "kind")]
    assert len(set(distances)) < len(distances) / 5  # ties
    assert [item for item, _, _ in right(0, "look")] != sorted(THERE)


@pytest.mark.parametrize("grain", list(GRAINS))
@pytest.mark.parametrize("k", [1, 7, 60])
def test_the_nearest_come_by_distance_then_whole_distance_then_id(make: Made, grain: str, k: int) -> None:
    answers = make(CHANGES).nearest(QUERIES, k, grain=grain)
    assert [listed(neighbours) for neighbours in answers] == [right(query, grain)[:k] for query in range(len(QUERIES))]


def test_k_past_the_end_gives_all_there_are(make: Made) -> None:
    answers = make(CHANGES).nearest(QUERIES[:2], 10_000, grain="thing")
    assert [listed(neighbours) for neighbours in answers] == [right(query, "thing") for query in range(2)]
    assert [neighbours.total for neighbours in answers] == [len(THERE)] * 2


@pytest.mark.parametrize("grain", list(GRAINS))
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 1.0])
def test_all_within_a_radius_are_found_and_counted(make: Made, grain: str, share: float) -> None:
    radius = int(share * GRAINS[grain])
    engine = make(CHANGES)
    for query, neighbours in enumerate(engine.within(QUERIES, radius, grain=grain)):
        expected = [hit for hit in right(query, grain) if hit[1] <= radius]
        assert listed(neighbours) == expected
        assert neighbours.total == len(expected)
    for query, neighbours in enumerate(engine.within(QUERIES, radius, grain=grain, cap=5)):
        expected = [hit for hit in right(query, grain) if hit[1] <= radius]
        assert listed(neighbours) == expected[:5]
        assert neighbours.total == len(expected)


@pytest.mark.parametrize("few", [True, False])
def test_a_filter_keeps_to_its_ids_and_knows_of_no_others(make: Made, few: bool) -> None:
    engine = make(CHANGES)
    where = np.unique([*sorted(THERE)[:: 30 if few else 2], 10**6, 10**7])
    for neighbours, query in zip(engine.nearest(QUERIES, 40, grain="kind", where=where), range(9), strict=False):
        assert listed(neighbours) == right(query, "kind", where.tolist())[:40]
    (neighbours,) = engine.within(QUERIES[0], 5, grain="kind", where=where)
    assert listed(neighbours) == [hit for hit in right(0, "kind", where.tolist()) if hit[1] <= 5]
    nothing = np.empty(0, np.int64)
    assert [len(each) for each in engine.nearest(QUERIES, 3, grain="look", where=nothing)] == [0] * len(QUERIES)


def test_what_was_removed_answers_nothing_even_where_a_filter_names_it(make: Made) -> None:
    gone = np.array(sorted({change.item for change in CHANGES} - set(THERE)), np.int64)
    assert len(gone) > 20
    engine = make(CHANGES)
    assert len(engine.nearest(QUERIES[0], 9, grain="look", where=gone)[0]) == 0
    assert not set(engine.nearest(QUERIES[0], 10_000, grain="look")[0].ids.tolist()) & set(gone.tolist())


@pytest.mark.parametrize(
    ("grain", "weights"),
    [("kind", {"kind": 3.0}), ("thing", {"kind": 4.0, "thing": 1.0}), ("thing", {"kind": 0.0, "thing": 1.0}),
     ("look", {"kind": 2.0, "thing": 0.5, "look": 0.25}), ("look", {"kind": 1.0, "thing": 1.0, "look": 1.0})],
)  # fmt: skip
def test_weights_say_what_the_bits_of_each_grain_count(make: Made, grain: str, weights: dict[str, float]) -> None:
    edges = [0, *GRAINS.up_to(grain).values()]
    for query, neighbours in enumerate(make(CHANGES).nearest(QUERIES, 20, grain=grain, weights=weights)):
        expected = []
        for item, code in THERE.items():
            unlike = number(code) ^ number(QUERIES.words[query])
            parts = zip(weights.values(), edges[:-1], edges[1:], strict=True)
            distance = sum(weight * (unlike >> a & (1 << b - a) - 1).bit_count() for weight, a, b in parts)
            expected.append((item, distance, unlike.bit_count()))
        expected.sort(key=lambda hit: (hit[1], hit[2], hit[0]))
        assert listed(neighbours) == expected[:20]


@pytest.mark.parametrize("grain", list(GRAINS))
def test_outputs_order_by_agreement_then_id(make: Made, grain: str) -> None:
    rng = np.random.default_rng(3)
    sure = rng.choice([-4.0, -2.0, -1.0, 0.0, 1.0, 2.0, 4.0], GRAINS.bits).astype(np.float32)  # whole in every unit
    counted = sure[: GRAINS[grain]].astype(int)
    score = {
        item: sum(
            int(value) if number(code) >> bit & 1 else -int(value) for bit, value in enumerate(counted)
        ) / np.abs(counted).sum()
        for item, code in THERE.items()
    }  # fmt: skip
    engine = make(CHANGES)
    for where in (None, np.array(sorted(THERE)[::3], np.int64)):
        best, _ = engine.agreeing(sure, 25, grain=grain, where=where)
        selected = [item for item in THERE if where is None or item in where]
        expected = sorted(selected, key=lambda item: (-score[item], item))[:25]
        assert best.ids.tolist() == expected
        assert best.scores == pytest.approx([score[item] for item in expected])


def test_an_empty_engine_answers_with_nothing(make: Made) -> None:
    engine = make([])
    assert engine.sequence == 0
    assert [listed(neighbours) for neighbours in engine.nearest(QUERIES, 3, grain="kind")] == [[]] * len(QUERIES)
    assert [(listed(each), each.total) for each in engine.within(QUERIES[0], 128, grain="look")] == [([], 0)]
    assert len(engine.agreeing(np.ones(128, np.float32), 3, grain="look")[0].ids) == 0
    engine.apply([])
    assert engine.sequence == 0


def test_no_codes_are_answered_with_no_answers(make: Made) -> None:
    engine = make(CHANGES)
    assert engine.nearest(QUERIES[:0], 3, grain="kind") == []
    assert engine.within(QUERIES[:0], 3, grain="kind") == []


@pytest.mark.parametrize("cut", [0, 1, 60, len(CHANGES) - 1, len(CHANGES)])
def test_an_engine_behind_the_log_catches_up_with_what_it_has_not_had(make: Made, cut: int) -> None:
    engine = make(CHANGES[:cut])
    assert engine.sequence == cut
    engine.apply(CHANGES[cut:])
    assert engine.sequence == len(CHANGES)
    assert listed(engine.nearest(QUERIES[0], 10_000, grain="thing")[0]) == right(0, "thing")


def test_changes_applied_one_by_one_come_to_the_same(make: Made) -> None:
    engine = make(CHANGES[:5])
    for change in CHANGES[5:65]:
        engine.apply(iter([change]))
    engine.apply(CHANGES)
    assert listed(engine.nearest(QUERIES[0], 10_000, grain="thing")[0]) == right(0, "thing")


def test_changes_applied_twice_count_once(make: Made) -> None:
    engine = make(CHANGES)
    for again in (CHANGES[:50], CHANGES):  # by the first alone, items would be back that were changed or removed since
        engine.apply(again)
        assert engine.sequence == len(CHANGES)
        assert listed(engine.nearest(QUERIES[0], 10_000, grain="thing")[0]) == right(0, "thing")


def test_a_log_without_superfluous_entries_leads_to_the_same(make: Made) -> None:
    """An item may change that the engine never had, and be removed so; numbers have gaps."""
    last = {change.item: change for change in CHANGES}
    engine = make(sorted(last.values()))
    assert engine.sequence == len(CHANGES)
    assert listed(engine.nearest(QUERIES[0], 10_000, grain="thing")[0]) == right(0, "thing")


def test_the_order_in_which_items_came_does_not_matter(make: Made) -> None:
    order = np.random.default_rng(1).permutation(sorted(THERE)).tolist()
    engine = make([Change(place, "added", item, THERE[item]) for place, item in enumerate(order, start=1)])
    assert listed(engine.nearest(QUERIES[1], 10_000, grain="kind")[0]) == right(1, "kind")


def test_what_makes_no_sense_is_refused(make: Made) -> None:
    engine = make(CHANGES)
    with pytest.raises(CodesError):
        engine.nearest(QUERIES.at("thing"), 3, grain="thing")
    with pytest.raises(CodesError):
        engine.agreeing(np.ones(40, np.float32), 3, grain="thing")
    with pytest.raises(CodesError, match="kind, thing, look"):
        engine.nearest(QUERIES, 3, grain="nose")
    with pytest.raises(QueryError):
        engine.nearest(QUERIES, 0, grain="look")
    for radius in (-1, 41):
        with pytest.raises(QueryError):
            engine.within(QUERIES, radius, grain="thing")
    with pytest.raises(QueryError):
        engine.nearest(QUERIES, 3, grain="thing", weights={"thing": 1.0})


def test_closing_twice_does_no_harm(make: Made) -> None:
    engine = make(CHANGES)
    engine.close()
    engine.close()


def test_a_batch_with_a_code_that_does_not_fit_is_not_half_applied() -> None:
    engine = EmbeddedEngine([], GRAINS)
    engine.apply(CHANGES[:3])
    with pytest.raises(CodesError, match="does not fit"):
        engine.apply([CHANGES[3], Change(99, "added", 7, np.zeros(3, np.uint64))])
    assert engine.sequence == 3
    engine.apply(CHANGES)
    assert listed(engine.nearest(QUERIES[0], 10_000, grain="thing")[0]) == right(0, "thing")


def test_the_engine_in_the_docstring_answers_as_the_others() -> None:
    from hashgrain import hamming

    example = (protocol_module.Engine.__doc__ or "").split("```python")[1].split("```")[0]
    names = {"np": np, "hamming": hamming, "rows_of": rows_of, "QueryError": QueryError}
    exec("\n".join(line.removeprefix("    ") for line in example.splitlines()), names)
    engine = names["Plain"](GRAINS)  # type: ignore[operator]
    engine.apply(CHANGES)
    engine.apply(CHANGES[:20])
    where = np.array(sorted(THERE)[::2], np.int64)
    for selected in (None, where):
        neighbours = engine.nearest(QUERIES, 9, grain="kind", where=selected)
        expected = [
            right(query, "kind", None if selected is None else selected.tolist())[:9] for query in range(len(QUERIES))
        ]
        assert [listed(each) for each in neighbours] == expected
