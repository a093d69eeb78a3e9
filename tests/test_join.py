"""Every pair once, whatever way they are found; and re-ranking by what the model was sure of."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hashgrain.errors import CodesError, QueryError
from hashgrain.hamming import join, native, plain, rerank, rows_of, self_join


def pairs(words: np.ndarray, radius: int, bits: int, alive: np.ndarray | None = None, threads: int = 2) -> list:
    cut = len(words) // 3
    ids = np.arange(len(words)) * 2 + 5
    parts = [
        rows_of(words[:cut], ids[:cut], None if alive is None else alive[:cut]),
        rows_of(words[cut:], ids[cut:], None if alive is None else alive[cut:], first_row=cut),
    ]
    found = [
        pair
        for some in join(parts, radius, bits=bits, threads=threads)
        for pair in zip(some.first.tolist(), some.second.tolist(), some.distances.tolist(), strict=True)
    ]
    assert all(a < b for a, b, _ in found)
    return sorted(found)


@settings(max_examples=80)
@given(
    st.integers(0, 120), st.sampled_from([1, 2, 3]), st.integers(0, 2**32 - 1), st.booleans(), st.booleans(), st.data()
)
def test_join_finds_each_pair_once(
    n: int, n_words: int, seed: int, some_dead: bool, buckets: bool, data: st.DataObject
) -> None:
    rng = np.random.default_rng(seed)
    bits = data.draw(st.integers(1, 64 * n_words))
    radius = data.draw(st.one_of(st.integers(0, min(12, bits)), st.integers(0, bits)))
    pool = rng.integers(0, 2**64, (4, n_words), np.uint64)
    words = pool[rng.integers(0, 4, n)]
    for _ in range(3):
        words ^= np.uint64(1) << rng.integers(0, 64, words.shape, np.uint64)
    alive = rng.random(n) < 0.7 if some_dead else None
    kept = [i for i in range(n) if alive is None or alive[i]]
    numbers = [sum(int(w) << 64 * j for j, w in enumerate(row)) & ((1 << bits) - 1) for row in words]
    expected = sorted(
        (2 * i + 5, 2 * j + 5, (numbers[i] ^ numbers[j]).bit_count())
        for a, i in enumerate(kept)
        for j in kept[a + 1 :]
        if (numbers[i] ^ numbers[j]).bit_count() <= radius
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(self_join, "WORTH_BUCKETS", 1e9 if buckets else -1.0)
        assert pairs(words, radius, bits, alive) == expected


def test_join_gives_the_same_pairs_with_any_number_of_threads_and_by_the_twin(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    words = rng.integers(0, 2**64, (50, 1), np.uint64)[rng.integers(0, 50, 6000)]
    words ^= np.uint64(1) << rng.integers(0, 64, words.shape, np.uint64)
    found = pairs(words, 3, 64, threads=1)
    assert len(found) > 100_000
    assert pairs(words, 3, 64, threads=3) == found
    monkeypatch.setattr(native, "kernels", None)
    assert pairs(words[:900], 3, 64) == [pair for pair in found if pair[1] < 2 * 900 + 5]


def test_join_gives_pairs_before_it_has_found_them_all() -> None:
    words = np.zeros((30_000, 1), np.uint64)  # 450 million pairs: more than would fit in patience or memory
    first = next(iter(join([rows_of(words)], 0, bits=64)))
    assert 0 < len(first) < 5_000_000


@pytest.mark.parametrize("radius", [-1, 65, 2.0, True])
def test_join_refuses_a_senseless_radius(radius: object) -> None:
    with pytest.raises(QueryError):
        next(iter(join([rows_of(np.zeros((5, 1), np.uint64))], radius, bits=64)))  # type: ignore[arg-type]


@settings(max_examples=60)
@given(st.integers(0, 60), st.integers(1, 200), st.integers(0, 2**32 - 1))
def test_rerank_orders_by_the_real_valued_agreement(n: int, bits: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    n_words = (bits + 63) // 64
    words = rng.integers(0, 2**64, (n, n_words), np.uint64)
    outputs = rng.normal(size=bits).astype(np.float32)
    ids = rng.permutation(1000)[:n]
    found = rerank(outputs, ids, words)
    signs = 2.0 * np.array([[(int(r[j // 64]) >> (j % 64)) & 1 for j in range(bits)] for r in words]).reshape(n, bits)
    scores = ((signs - 1) @ outputs.astype(np.float64)) / np.abs(outputs.astype(np.float64)).sum()
    assert sorted(found.ids) == sorted(ids)
    assert np.all(np.diff(found.scores) <= 0)
    by_id = dict(zip(ids.tolist(), scores, strict=True))
    np.testing.assert_allclose(found.scores, [by_id[i] for i in found.ids.tolist()], atol=1e-9)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(native, "kernels", None)
        twin = rerank(outputs, ids, words)
    assert twin.ids.tolist() == found.ids.tolist()
    assert twin.scores.tolist() == found.scores.tolist()


def test_rerank_breaks_ties_by_id_and_likes_the_query_itself_best() -> None:
    outputs = np.array([0.9, -0.1, 0.5])
    words = np.array([[0b101], [0b111], [0b101], [0b010]], np.uint64)
    found = rerank(outputs, np.array([9, 4, 2, 7]), words)
    assert found.ids.tolist() == [2, 9, 4, 7]
    assert found.scores[0] == 1.0
    assert found.scores[-1] == -1.0


@pytest.mark.parametrize(
    ("outputs", "error"),
    [
        ([float("nan"), 1.0], QueryError),
        ([float("inf"), 1.0], QueryError),
        ([0.0, 0.0], QueryError),
        ([], CodesError),
        ([[1.0]], CodesError),
        ([1.0] * 65, CodesError),
    ],
)
def test_rerank_refuses_outputs_that_order_nothing(outputs: list, error: type) -> None:
    with pytest.raises(error):
        rerank(outputs, np.arange(2), np.zeros((2, 1), np.uint64))


def test_rerank_refuses_a_shortlist_that_is_none() -> None:
    for words in (np.zeros(2, np.uint64), np.zeros((2, 1), np.uint32), np.zeros((3, 1), np.uint64)):
        with pytest.raises(CodesError):
            rerank([1.0], np.arange(2), words)


def test_the_twin_of_join_and_its_steps_meet_every_pair() -> None:
    words = np.arange(40, dtype=np.uint64)[:, None]
    rows = [tuple(row) for some in plain.join(words, 64) for row in some.tolist()]
    assert len({row[:2] for row in rows}) == len(rows) == 40 * 39 // 2
