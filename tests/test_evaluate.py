"""Figures that do not depend on how a tie happens to be ordered."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from hashgrain import Codes, Grains
from hashgrain.errors import CodesError
from hashgrain.evaluate import (
    average_precision_at,
    average_precision_at_scores,
    code_health,
    precision_at,
    precision_at_scores,
)

GRAINS = Grains(look=64)


def codes_at(distances: list[int]) -> Codes:
    """Codes so far from zero."""
    return Codes.from_bits([[1] * d + [0] * (64 - d) for d in distances], GRAINS)


ZERO = codes_at([0])
WANTED = np.array([1])


def ranked(marks: str) -> tuple[Codes, NDArray[np.int64]]:
    """ "+-+" as a database without ties."""
    return codes_at(list(range(len(marks)))), np.array([1 if mark == "+" else 0 for mark in marks])


@pytest.mark.parametrize(
    ("marks", "convention", "expected"),
    [
        ("+-+", "hash", 5 / 6),
        ("+--", "hash", 1.0),
        ("+--+", "hash", 1.0),
        ("+--+", "ir", 0.5),
        ("+--+", "min", 0.5),
        ("+--++++", "min", 1 / 3),
        ("---", "hash", 0.0),
        ("---+", "hash", 0.0),
    ],
)
def test_the_conventions_differ_as_published(marks: str, convention: str, expected: float) -> None:
    database, labels = ranked(marks)
    (found,) = average_precision_at(ZERO, database, WANTED, labels, 3, convention)  # type: ignore[arg-type]
    assert found == pytest.approx(expected)


def loop(good: NDArray[np.bool_], k: int, convention: str) -> tuple[float, float]:
    """AP@k and P@k of one order, as a text book has them."""
    hits, total = 0, 0.0
    for rank, relevant in enumerate(good[:k], 1):
        hits += relevant
        total += relevant * hits / rank
    divisor = {"hash": hits, "ir": good.sum(), "min": min(k, len(good), good.sum())}[convention]
    return total / max(1, divisor), hits / min(k, len(good))


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 6), st.booleans()), min_size=1, max_size=25),
    st.integers(1, 30),
    st.sampled_from(["hash", "ir", "min"]),
    st.integers(0, 999),
)
def test_the_expectation_is_the_mean_over_tie_orders(
    items: list[tuple[int, bool]], k: int, convention: str, seed: int
) -> None:
    distances, good = np.array([d for d, _ in items]), np.array([g for _, g in items])
    rng, found = np.random.default_rng(seed), []
    for _ in range(2_000):
        order = np.lexsort((rng.random(len(items)), distances))
        found.append(loop(good[order], k, convention))
    database, labels = codes_at(distances.tolist()), good.astype(np.int64)
    (average,) = average_precision_at(ZERO, database, WANTED, labels, k, convention)  # type: ignore[arg-type]
    (precision,) = precision_at(ZERO, database, WANTED, labels, k)
    spread = np.std(found, axis=0) / np.sqrt(len(found))
    assert abs(average - np.mean(found, axis=0)[0]) <= 5 * spread[0] + 1e-9
    assert abs(precision - np.mean(found, axis=0)[1]) <= 5 * spread[1] + 1e-9


def test_without_ties_it_is_the_plain_loop_and_the_order_of_the_database_does_not_matter() -> None:
    rng = np.random.default_rng(0)
    database = codes_at(list(range(60)))
    labels = rng.integers(0, 3, 60)
    for k in (1, 7, 60, 500):
        (found,) = average_precision_at(ZERO, database, WANTED, labels, k)
        assert found == pytest.approx(loop(labels == 1, k, "hash")[0])
        order = rng.permutation(60)
        (shuffled,) = average_precision_at(ZERO, database[order], WANTED, labels[order], k)
        assert shuffled == pytest.approx(found)
        scores = -np.arange(60.0)[None]
        assert average_precision_at_scores(scores, WANTED, labels, k)[0] == pytest.approx(found)
        (precision,) = precision_at(ZERO, database, WANTED, labels, k)
        assert precision_at_scores(scores, WANTED, labels, k)[0] == pytest.approx(precision)


def test_many_queries_are_those_one_by_one() -> None:
    rng = np.random.default_rng(2)
    grains = Grains(look=16)
    queries, database = (Codes.from_bits(rng.integers(0, 2, (n, 16)), grains) for n in (30, 700))
    wanted, labels = rng.integers(0, 5, 30), rng.integers(0, 5, 700)
    together = average_precision_at(queries, database, wanted, labels, 100)
    alone = [average_precision_at(queries[i], database, wanted[i : i + 1], labels, 100)[0] for i in range(30)]
    np.testing.assert_allclose(together, alone)


def test_labels_and_widths_must_fit() -> None:
    with pytest.raises(CodesError, match="labels"):
        precision_at(ZERO, codes_at([1, 2]), WANTED, np.array([1]), 3)
    with pytest.raises(CodesError, match="bits"):
        precision_at(ZERO, Codes.from_bits([[1]], Grains(look=1)), WANTED, np.array([1]), 3)
    with pytest.raises(CodesError, match="cut-off"):
        precision_at(ZERO, codes_at([1]), WANTED, np.array([1]), 0)


def test_health_tells_dead_bits_entropy_and_crowded_codes() -> None:
    grains = Grains(kind=2, look=4)
    codes = Codes.from_bits([[0, 1, 1, 0], [0, 1, 1, 0], [0, 0, 1, 0], [0, 0, 1, 1]], grains)
    kind, look = code_health(codes).values()
    assert (kind.dead_bits, kind.distinct, kind.largest_bucket) == (1, 2, 2)
    assert kind.mean_entropy == pytest.approx(0.5)
    assert (look.dead_bits, look.distinct, look.largest_bucket, look.least_entropy) == (2, 3, 2, 0.0)
    assert code_health(codes[:0])["look"].distinct == 0
    assert code_health(codes[0])["look"].dead_bits == 4
