"""Exact answers in the order of the house, on every path, against a slow and obvious oracle."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hamming_questions import Asked, listed, number, questions
from hashgrain.errors import CodesError, QueryError
from hashgrain.hamming import compiled, kinds, merge, native, nearest, plain, rows_of, search, within
from hashgrain.hamming.question import ask_nearest, ask_within
from hashgrain.hamming.rows import pieces, unpacked

KERNELS = [*kinds(), "numpy"]


def answer(kind: str, question: object, parts: list) -> list:
    found = plain.scan(question, parts) if kind == "numpy" else native.scan(question, parts, kind)  # type: ignore[arg-type]
    return [(listed(each), each.total) for each in found]


@settings(max_examples=150)
@given(questions(), st.integers(1, 400))
def test_every_kernel_finds_the_nearest_as_the_oracle_does(asked: Asked, k: int) -> None:
    parts = asked.parts()
    expected = [asked.oracle(i)[:k] for i in range(len(asked.queries))]
    question = ask_nearest(asked.queries, parts, k, asked.bits, None)
    for kind in KERNELS:
        assert [hits for hits, _ in answer(kind, question, parts)] == expected, kind
    assert [listed(found) for found in nearest(asked.queries, parts, k, bits=asked.bits)] == expected


@settings(max_examples=100)
@given(questions(), st.data())
def test_every_kernel_finds_all_within_and_counts_what_a_cap_leaves_out(asked: Asked, data: st.DataObject) -> None:
    parts = asked.parts()
    radius = data.draw(st.integers(0, asked.bits))
    cap = data.draw(st.one_of(st.none(), st.integers(1, 100)))
    inside = [[hit for hit in asked.oracle(i) if hit[1] <= radius] for i in range(len(asked.queries))]
    expected = [(hits[:cap], len(hits)) for hits in inside]
    question = ask_within(asked.queries, parts, radius, asked.bits, cap)
    for kind in KERNELS:
        assert answer(kind, question, parts) == expected, kind


@settings(max_examples=60)
@given(questions(widths=(1, 2, 4)), st.integers(1, 100), st.data())
def test_weighted_grains_count_each_bit_as_told(asked: Asked, k: int, data: st.DataObject) -> None:
    ends = sorted({*data.draw(st.lists(st.integers(1, asked.bits), max_size=3)), asked.bits})
    fractions = data.draw(st.booleans())
    values = [data.draw(st.integers(0, 8)) / (4 if fractions else 1) for _ in ends]
    values[data.draw(st.integers(0, len(ends) - 1))] = 9.0
    weights, parts = list(zip(ends, values, strict=True)), asked.parts()

    def distance(differing: int) -> float:
        total, begin = 0.0, 0
        for end, value in weights:
            total += value * ((differing >> begin) & ((1 << (end - begin)) - 1)).bit_count()
            begin = end
        return total

    found = nearest(asked.queries, parts, k, bits=asked.bits, weights=weights)
    codes = dict(zip(asked.ids.tolist(), asked.words, strict=True))
    for query, hits in zip(asked.queries, found, strict=True):
        alive = [hit[0] for hit in asked.oracle(0)]
        differing = {i: number(codes[i]) ^ number(query) for i in alive}
        expected = sorted(alive, key=lambda i: (round(distance(differing[i]), 6), differing[i].bit_count(), i))[:k]
        assert hits.ids.tolist() == expected
        # The largest weight stands for 65,536 units; others are rounded to one.
        np.testing.assert_allclose(hits.distances, [distance(differing[i]) for i in expected], atol=1e-4 * asked.bits)
    twin = plain.scan(ask_nearest(asked.queries, parts, k, asked.bits, weights), parts)
    assert [listed(each) for each in twin] == [listed(each) for each in found]


@settings(max_examples=60)
@given(questions(), st.integers(1, 50), st.integers(0, 2**32 - 1))
def test_flipping_the_same_bits_everywhere_changes_nothing(asked: Asked, k: int, seed: int) -> None:
    mask = np.random.default_rng(seed).integers(0, 2**64, asked.words.shape[1], np.uint64)
    flipped = replace(asked, queries=asked.queries ^ mask, words=asked.words ^ mask)
    assert found(flipped, k) == found(asked, k)


@settings(max_examples=60)
@given(questions(widths=(1, 2)), st.integers(1, 50), st.integers(0, 2**32 - 1))
def test_moving_bits_about_inside_a_grain_changes_nothing(asked: Asked, k: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    width = 64 * asked.words.shape[1]
    order = np.concatenate([rng.permutation(asked.bits), asked.bits + rng.permutation(width - asked.bits)])

    def moved(words: np.ndarray) -> np.ndarray:
        bits = np.unpackbits(np.ascontiguousarray(words).view(np.uint8), axis=1, bitorder="little")[:, order]
        return np.ascontiguousarray(np.packbits(bits, axis=1, bitorder="little")).view(np.uint64)

    assert found(replace(asked, queries=moved(asked.queries), words=moved(asked.words)), k) == found(asked, k)


@settings(max_examples=60)
@given(questions(), st.integers(1, 50), st.integers(0, 2**32 - 1), st.integers(1, 5))
def test_order_of_insertion_splits_and_threads_change_nothing(asked: Asked, k: int, seed: int, threads: int) -> None:
    order = np.random.default_rng(seed).permutation(len(asked.ids))
    shuffled = replace(
        asked,
        words=asked.words[order],
        ids=asked.ids[order],
        alive=None if asked.alive is None else asked.alive[order],
        cuts=[],
    )
    assert found(shuffled, k) == found(asked, k)
    merged = [
        listed(merge(each, k))
        for each in zip(*(native_or_plain(asked, k, part) for part in asked.parts()), strict=True)
    ]
    assert merged == found(asked, k)
    assert found(asked, k, threads) == found(asked, k)


def native_or_plain(asked: Asked, k: int, part: object) -> list:
    return nearest(asked.queries, [part], k, bits=asked.bits)  # type: ignore[list-item]


def found(asked: Asked, k: int, threads: int | None = None) -> list:
    return [listed(each) for each in nearest(asked.queries, asked.parts(), k, bits=asked.bits, threads=threads)]


def test_one_query_over_many_rows_is_shared_out_and_put_together_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "WORTH_SPLITTING", 1)
    rng = np.random.default_rng(0)
    words = rng.integers(0, 4, (5000, 2), np.uint64)  # few distinct codes: ties across every cut
    parts = [rows_of(words[:100]), rows_of(words[100:4000], np.arange(100, 4000), rng.random(3900) < 0.5, 100)]
    alone = nearest(words[:3], parts, 700, bits=128, threads=1)
    for threads in (2, 3, 7):
        for one, other in zip(nearest(words[:3], parts, 700, bits=128, threads=threads), alone, strict=True):
            assert listed(one) == listed(other)
            assert one.cost.rows == other.cost.rows == 4000
            assert one.total == other.total == 700
        for one, other in zip(
            within(words[:3], parts, 3, bits=128, cap=9, threads=threads),
            within(words[:3], parts, 3, bits=128, cap=9, threads=1),
            strict=True,
        ):
            assert listed(one) == listed(other)
            assert one.total == other.total > 9


@given(st.lists(st.integers(0, 300), min_size=1, max_size=4), st.integers(1, 9))
def test_shares_hold_every_row_once(sizes: list[int], count: int) -> None:
    parts, first = [], 0
    for size in sizes:
        numbers = np.arange(first, first + size)
        parts.append(rows_of(numbers.astype(np.uint64)[:, None], numbers, numbers % 3 > 0, first_row=first))
        first += size
    shares = [part for share in pieces(parts, count) for part in share]
    assert [i for part in shares for i in part.ids] == list(range(first))
    assert [i for part in shares for i in part.ids[unpacked(part)]] == [i for i in range(first) if i % 3]
    assert all(part.first_row == part.ids[0] for part in shares)


def test_k_beyond_two_thousand_and_heavy_ties_are_cut_right() -> None:
    rng = np.random.default_rng(3)
    words = rng.integers(0, 8, (20_000, 1), np.uint64)
    ids = rng.permutation(20_000).astype(np.int64)
    asked = Asked(words[:2], words, ids, None, 64, [])
    for k in (1, 127, 128, 129, 3000, 20_000, 30_000):
        assert found(asked, k) == [asked.oracle(0)[:k], asked.oracle(1)[:k]]


def test_the_twin_answers_where_nothing_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    words = np.arange(10, dtype=np.uint64)[:, None]
    fast = nearest(words[3:4], [rows_of(words)], 4, bits=64)
    monkeypatch.setattr(native, "kernels", None)
    assert not compiled()
    slow = nearest(words[3:4], [rows_of(words)], 4, bits=64)
    assert listed(slow[0]) == listed(fast[0])
    assert slow[0].cost.path == "numpy"


def test_the_kernels_are_in_use_where_they_were_built() -> None:
    pytest.importorskip("hashgrain.hamming._kernels", reason="no compiler here")
    assert compiled()
    assert kinds()[-1] == "plain"


def test_many_callers_at_once_get_their_own_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "WORTH_SPLITTING", 1)
    rng = np.random.default_rng(0)
    words = rng.integers(0, 2**64, (20_000, 2), np.uint64)
    rows = [rows_of(words)]
    with ThreadPoolExecutor(8) as pool:
        ids = list(pool.map(lambda i: nearest(words[i : i + 1], rows, 3, bits=128, threads=4)[0].ids[0], range(200)))
    assert ids == list(range(200))


def test_codes_that_are_not_contiguous_are_read_right() -> None:
    wide = np.random.default_rng(0).integers(0, 2**64, (50, 4), np.uint64)
    asked = Asked(wide[7:9, ::2], wide[:, ::2], np.arange(100)[::2], None, 100, [])
    assert found(asked, 5) == [asked.oracle(0)[:5], asked.oracle(1)[:5]]


def test_an_empty_library_and_no_queries_give_empty_answers() -> None:
    nothing = rows_of(np.empty((0, 2), np.uint64))
    query = np.zeros((1, 2), np.uint64)
    for parts in ([], [nothing]):
        assert listed(nearest(query, parts, 3, bits=128)[0]) == []
        assert within(query, parts, 5, bits=128)[0].total == 0
    assert nearest(query[:0], [nothing], 3, bits=128) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"k": 0},
        {"k": -3},
        {"k": 1.5},
        {"k": True},
        {"bits": 0},
        {"bits": 65},
        {"queries": np.zeros((1, 2), np.uint64)},
        {"queries": np.zeros((1, 1), np.int64)},
        {"queries": np.zeros(1, np.uint64)},
        {"threads": 0},
        {"threads": -1},
        {"threads": 1.5},
        {"threads": True},
        {"weights": []},
        {"weights": [(32, 1.0)]},
        {"weights": [(64, 1.0), (32, 1.0)]},
        {"weights": [(32, -1.0), (64, 1.0)]},
        {"weights": [(64, 0.0)]},
        {"weights": [(64, float("nan"))]},
        {"weights": [(64, float("inf"))]},
        {"weights": [(64, 1e-300)]},
        {"weights": [(32, 1e308), (64, 1.0)]},
        {"weights": [(64, "x")]},
        {"weights": [64]},
        {"queries": np.zeros((1, 65), np.uint64)},
    ],
)
def test_nonsense_is_refused_before_it_reaches_a_kernel(changes: dict) -> None:
    asked = {"queries": np.zeros((1, 1), np.uint64), "k": 1, "bits": 64}
    with pytest.raises((QueryError, CodesError)):
        nearest(**{**asked, **changes}, parts=[rows_of(np.zeros((5, 1), np.uint64))])


def test_a_weight_too_small_to_matter_counts_nothing_and_is_no_error() -> None:
    words = np.random.default_rng(0).integers(0, 2**64, (200, 1), np.uint64)
    weighted = nearest(words[:1], [rows_of(words)], 9, bits=64, weights=[(32, 1.0), (64, 1e-320)])
    by_first = sorted(range(200), key=lambda i: (int(words[i, 0] ^ words[0, 0]) & 0xFFFFFFFF).bit_count())
    assert weighted[0].distances[0] == 0.0
    assert weighted[0].distances[-1] == (int(words[by_first[8], 0] ^ words[0, 0]) & 0xFFFFFFFF).bit_count()


def test_any_number_of_threads_may_be_asked_for() -> None:
    words = np.arange(300, dtype=np.uint64)[:, None]
    for threads in (2**40, np.int64(3)):
        assert nearest(words[:1], [rows_of(words)], 1, bits=64, threads=threads)[0].ids.tolist() == [0]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "wrong",
    [
        {"words": np.zeros((5, 1), np.uint32)},
        {"words": np.zeros(5, np.uint64)},
        {"ids": np.arange(4)},
        {"ids": np.arange(5, dtype=np.int32)},
        {"alive": np.ones(4, bool)},
        {"alive": np.ones(5, np.uint8)},
    ],
)
def test_rows_that_do_not_fit_each_other_are_refused(wrong: dict) -> None:
    with pytest.raises(CodesError):
        rows_of(**{"words": np.zeros((5, 1), np.uint64), **wrong})


@pytest.mark.parametrize(("radius", "cap"), [(-1, None), (65, None), (2.0, None), (True, None), (3, 0), (3, 1.5)])
def test_a_senseless_radius_or_cap_is_refused(radius: object, cap: object) -> None:
    rows = [rows_of(np.zeros((5, 1), np.uint64))]
    with pytest.raises(QueryError):
        within(np.zeros((1, 1), np.uint64), rows, radius, bits=64, cap=cap)  # type: ignore[arg-type]


@pytest.mark.skipif(not compiled(), reason="the kernels are not compiled here")
def test_the_kernels_never_read_past_a_buffer() -> None:
    from hashgrain.hamming import _kernels

    plane, ids, query = np.zeros(4, np.uint64), np.arange(4), np.zeros((1, 2), np.uint64)
    asked = (query, 2, 64, 1, 64, False, None, None, None, 0, 1)
    part = (0, 4, (plane, plane), ids, None, True)
    for wrong, parts in (
        (asked, [(0, 5, (plane, plane), ids, None, True)]),
        (asked, [(0, 4, (plane,), ids, None, True)]),
        (asked, [(0, 4, (plane, plane[:3]), ids, None, True)]),
        (asked, [(0, 4, (plane, plane), ids[:3], None, True)]),
        (asked, [(0, 4, (plane, plane), ids, np.zeros(7, np.uint8), True)]),
        (asked, [(0, -1, (plane, plane), ids, None, True)]),
        ((query, 0, 64, 1, 64, False, None, None, None, 0, 1), [part]),
        ((query, 65, 64, 1, 64, False, None, None, None, 0, 1), [part]),
        ((query, 2, 129, 1, 64, False, None, None, None, 0, 1), [part]),
        ((query, 2, 64, -1, 64, False, None, None, None, 0, 1), [part]),
        ((query, 2, 64, 1, -1, False, None, None, None, 0, 1), [part]),
        ((query, 2, 64, 1, 64, False, [(2, 1, 1)], None, None, 0, 1), [part]),
        ((query, 2, 64, 1, 64, False, [(0, 1, -1)], None, None, 0, 1), [part]),
        ((query, 2, 64, 1, 64, False, None, None, None, 1, 1), [part]),
        ((query, 2, 64, 1, 64, False, None, None, None, 0, 0), [part]),
        ((query, 2, 64, 1, 64, False, None, None, np.zeros(0, np.int64), 0, 1), [part]),
        ((query, 2, 64, 1, 64, False, None, "abacus", None, 0, 1), [part]),
    ):
        with pytest.raises(ValueError):
            _kernels.scan(wrong, parts)
    assert len(_kernels.scan(asked, [part])[0]) == 8


@given(st.lists(st.tuples(st.integers(0, 5000), st.integers(1, 300)), max_size=4), st.integers(0, 2**32 - 1))
def test_stretches_of_rows_that_are_alive_are_found_wherever_they_lie(
    stretches: list[tuple[int, int]], seed: int
) -> None:
    rng = np.random.default_rng(seed)
    words, alive = rng.integers(0, 16, (5000, 1), np.uint64), np.zeros(5000, bool)
    for start, length in stretches:
        alive[start : start + length] = True
    asked = Asked(words[:1], words, np.arange(5000), alive, 64, [])
    question = ask_nearest(asked.queries, asked.parts(), 600, 64, None)
    for kind in KERNELS:
        assert answer(kind, question, asked.parts())[0][0] == asked.oracle(0)[:600], kind
