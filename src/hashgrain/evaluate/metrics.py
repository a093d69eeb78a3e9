"""Precision and average precision by Hamming rank, exact under ties.

Codes of few bits tie by the hundred, and how a tool happens to order a tie can move mAP by ten points. So
these are expectations over a random order inside each tie, in closed form (McSherry and Najork for whole
ties; the tie that the cut-off k splits is averaged over how many of its relevant members come before the cut).
Ties are by distance at the grain alone, the published convention, not by our own search's finer order.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hashgrain.codes import Codes
from hashgrain.errors import CodesError

Labels = NDArray[np.int64]
Floats = NDArray[np.float64]
# What the sum of precisions at the relevant ranks is divided by: the relevant found among the first k (the
# usual one in hashing), all relevant, or the most there could be among k.
Convention = Literal["hash", "ir", "min"]
CHUNK_CELLS = 1 << 24  # distances held at a time


def precision_at(queries: Codes, database: Codes, wanted: Labels, labels: Labels, k: int) -> Floats:
    """Expected share of relevant items among the k nearest, for each query."""
    found = [_expected_precision(all_, good, k) for all_, good in _histograms(queries, database, wanted, labels)]
    return np.array(found)


def average_precision_at(
    queries: Codes,
    database: Codes,
    wanted: Labels,
    labels: Labels,
    k: int,
    convention: Convention = "hash",
) -> Floats:
    """Expected AP@k for each query; a query without anything relevant counts 0."""
    histograms = _histograms(queries, database, wanted, labels)
    return np.array([_expected_average_precision(all_, good, k, convention) for all_, good in histograms])


def precision_at_scores(scores: Floats, wanted: Labels, labels: Labels, k: int) -> Floats:
    """The same for real-valued similarities (queries, database), where ties are not expected."""
    return np.asarray(_ranked(scores, wanted, labels, k).mean(axis=1), np.float64)


def average_precision_at_scores(scores: Floats, wanted: Labels, labels: Labels, k: int) -> Floats:
    """AP@k in the `hash` convention for real-valued similarities (queries, database)."""
    relevant = _ranked(scores, wanted, labels, k)
    precision = relevant.cumsum(axis=1) / np.arange(1, relevant.shape[1] + 1)
    found = np.maximum(1, relevant.sum(axis=1))
    return np.asarray((precision * relevant).sum(axis=1) / found, np.float64)


def _ranked(scores: Floats, wanted: Labels, labels: Labels, k: int) -> NDArray[np.bool_]:
    k = min(_positive(k), scores.shape[1])
    first = np.argpartition(-scores, k - 1, axis=1)[:, :k]
    order = np.argsort(-np.take_along_axis(scores, first, axis=1), axis=1, kind="stable")
    return np.equal(labels[np.take_along_axis(first, order, axis=1)], wanted[:, None])


def _histograms(
    queries: Codes, database: Codes, wanted: Labels, labels: Labels
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """For each query how many items lie at each distance, and how many of them are relevant."""
    if queries.grains.bits != database.grains.bits:
        raise CodesError(f"queries of {queries.grains.bits} bits, a database of {database.grains.bits}")
    for codes, column, name in ((queries, wanted, "queries"), (database, labels, "database")):
        if len(codes) != len(column):
            raise CodesError(f"{len(codes)} codes of the {name} take as many labels, not {len(column)}")
    bins = database.grains.bits + 1
    by_label = np.argsort(labels, kind="stable")
    words, sorted_labels = database.words[by_label], labels[by_label]
    chunk = max(1, CHUNK_CELLS // max(1, len(database)))
    for start in range(0, len(queries), chunk):
        part, goals = queries.words[start : start + chunk], wanted[start : start + chunk]
        distances = _distances(part, words)
        low = np.searchsorted(sorted_labels, goals, "left")
        high = np.searchsorted(sorted_labels, goals, "right")
        for row, first, last in zip(distances, low, high, strict=True):
            yield np.bincount(row, minlength=bins), np.bincount(row[first:last], minlength=bins)


def _distances(queries: NDArray[np.uint64], words: NDArray[np.uint64]) -> NDArray[np.uint16]:
    distances = np.zeros((len(queries), len(words)), np.uint16)
    for column in range(words.shape[1]):
        distances += np.bitwise_count(queries[:, column, None] ^ words[None, :, column])
    return distances


def _expected_precision(all_: NDArray[np.int64], good: NDArray[np.int64], k: int) -> float:
    k = min(_positive(k), int(all_.sum()))
    if not k:
        return 0.0
    before = np.cumsum(all_) - all_
    taken = np.clip(k - before, 0, all_)
    return float((good * taken / np.maximum(1, all_)).sum() / k)


def _expected_average_precision(
    all_: NDArray[np.int64], good: NDArray[np.int64], k: int, convention: Convention
) -> float:
    k, relevant = min(_positive(k), int(all_.sum())), int(good.sum())
    if not relevant:
        return 0.0
    whole, seen, seen_good = 0.0, 0, 0
    for n, p in zip(all_.tolist(), good.tolist(), strict=True):
        if not n:
            continue
        if seen + n > k:
            return (
                whole / _divisor(convention, seen_good, relevant, k)
                if seen == k
                else _cut(whole, n, p, seen, seen_good, k, relevant, convention)
            )
        whole += _tie(n, p, seen, seen_good)
        seen, seen_good = seen + n, seen_good + p
    return whole / _divisor(convention, seen_good, relevant, k)


def _cut(
    whole: float, n: int, p: int, seen: int, seen_good: int, k: int, relevant: int, convention: Convention
) -> float:
    """The tie that k splits: m of its n members come before the cut, x of its p relevant ones among them."""
    m = k - seen
    expected = 0.0
    for x, chance in _hypergeometric(n, p, m):
        value = whole + _tie(m, x, seen, seen_good)
        expected += chance * value / _divisor(convention, seen_good + x, relevant, k)
    return expected


def _divisor(convention: Convention, found: int, relevant: int, k: int) -> int:
    return max(1, {"hash": found, "ir": relevant, "min": min(k, relevant)}[convention])


def _tie(n: int, p: int, seen: int, seen_good: int) -> float:
    """The expected sum of precisions at the relevant ranks of a tie of n with p relevant."""
    if not p:
        return 0.0
    # sum over j of (p / n) * (seen_good + 1 + (j - 1) * (p - 1) / (n - 1)) / (seen + j), j = 1..n
    harmonic = _harmonic(seen + n) - _harmonic(seen)
    slope = (p - 1) / (n - 1) if n > 1 else 0.0
    # (j - 1) / (seen + j) = 1 - (seen + 1) / (seen + j)
    return (p / n) * ((seen_good + 1) * harmonic + slope * (n - (seen + 1) * harmonic))


@lru_cache(maxsize=1)
def _harmonics(size: int) -> Floats:
    return np.concatenate([[0.0], np.cumsum(1 / np.arange(1, size + 1))])


def _harmonic(n: int) -> float:
    size = 1 << 20
    if n <= size:
        return float(_harmonics(size)[n])
    return float(np.log(n) + np.euler_gamma + 1 / (2 * n) - 1 / (12 * n * n))  # error below 1e-26 from here on


@lru_cache(maxsize=1 << 16)
def _hypergeometric(n: int, p: int, m: int) -> tuple[tuple[int, float], ...]:
    """(x, chance) that x of p relevant ones are among m drawn from n."""
    xs = np.arange(max(0, m - (n - p)), min(p, m) + 1)
    logs = _log_choose(p, xs) + _log_choose(n - p, m - xs) - _log_choose(n, np.array([m]))
    chances = np.exp(logs)
    keep = chances > 1e-12
    return tuple(zip(xs[keep].tolist(), (chances[keep] / chances[keep].sum()).tolist(), strict=True))


def _log_choose(n: int, k: NDArray[np.int64]) -> Floats:
    return _log_factorial(n) - _log_factorials(k) - _log_factorials(n - k)


def _log_factorial(n: int) -> float:
    return float(_log_factorials(np.array([n]))[0])


def _log_factorials(n: NDArray[np.int64]) -> Floats:
    from math import lgamma

    return np.array([lgamma(value + 1) for value in n.tolist()])


def _positive(k: int) -> int:
    if k < 1:
        raise CodesError(f"a cut-off of {k} makes no sense; it is 1 or more")
    return k
