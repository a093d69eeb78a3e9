"""Precision, recall and average precision by rank, exact under ties.

Codes of few bits tie by the hundred, and how a tool happens to order a tie can move mAP by ten points. So these
are expectations over a random order inside each tie, in closed form: McSherry and Najork for whole ties; the tie
that the cut-off k splits is averaged over how many of its relevant members come before the cut. Ties are by
distance at the grain alone, the published convention, not by our own search's finer order.

A cut-off of None is the whole list. Each function gives one figure a query.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from hashgrain.errors import EvaluationError
from hashgrain.evaluate.chances import Counts, Floats, draws, harmonic
from hashgrain.evaluate.counting import Tally

# What the sum of precisions at the relevant ranks is divided by: the relevant found among the first k (the usual
# one in hashing; `hash-skip` then leaves queries that found none out of the mean), all relevant, or the most there
# could be among k.
Convention = Literal["hash", "hash-skip", "ir", "min"]
CONVENTIONS: tuple[Convention, ...] = get_args(Convention)


@dataclass(frozen=True, eq=False)
class Ties:
    """A ranking as ties up to the cut-off: counts (queries, bins) before each, in each, and before the cut."""

    n: Counts
    good: Counts
    before: Counts
    good_before: Counts
    taken: Counts  # how many of the tie come before the cut

    @property
    def cut(self) -> NDArray[np.intp]:
        """Which queries have a tie that the cut splits, and which tie: (2, cases)."""
        return np.stack(np.nonzero((self.taken > 0) & (self.taken < self.n)))


def ties(tally: Tally, k: int | None) -> Ties:
    n, good = tally.all, tally.good
    before = np.cumsum(n, axis=1) - n
    taken = n if k is None else np.clip(positive(k) - before, 0, n)
    return Ties(n, good, before, np.cumsum(good, axis=1) - good, taken)


def positive(k: int) -> int:
    if k < 1:
        raise EvaluationError(f"a cut-off of {k} makes no sense; it is 1 or more")
    return k


def found_at(tally: Tally, k: int | None) -> Floats:
    """How many relevant items are expected among the first k."""
    t = ties(tally, k)
    return np.asarray((t.good * (t.taken / np.maximum(1, t.n))).sum(axis=1))


def precision(tally: Tally, k: int | None = None) -> Floats:
    """The share of relevant items among the first k, or among all where there are fewer."""
    return np.asarray(found_at(tally, k) / max(1, tally.database if k is None else min(k, tally.database)))


def recall(tally: Tally, k: int | None = None) -> Floats:
    """The share of all relevant items that stand among the first k; 0 where there are none."""
    return np.asarray(found_at(tally, k) / np.maximum(1, tally.good.sum(axis=1)))


def hit_rate(tally: Tally, k: int | None = None) -> Floats:
    """The chance that anything relevant stands among the first k."""
    t = ties(tally, k)
    sure = ((t.taken == t.n) & (t.good > 0)).any(axis=1).astype(np.float64)
    query, tie = t.cut
    chances = np.zeros(len(query))  # summed, not 1 less the chance of a miss: the small ones are kept exact
    for case, x, chance in draws(t.n[query, tie], t.good[query, tie], t.taken[query, tie], likely=True):
        chances += np.bincount(case, chance * (x > 0), minlength=len(query))
    sure[query] = np.maximum(sure[query], chances)
    return np.asarray(sure)


def average_precision(tally: Tally, k: int | None = None, convention: Convention = "hash") -> Floats:
    """Expected AP@k. A query that finds nothing relevant counts 0 (`hash-skip` differs only in the mean)."""
    t = ties(tally, k)
    whole = np.where(t.taken == t.n, precision_sum(t.n, t.good, t.before, t.good_before, t.taken), 0).sum(axis=1)
    query, tie = t.cut
    cut = [column[query, tie] for column in (t.n, t.good, t.before, t.good_before, t.taken)]
    found = np.where(t.taken == t.n, t.good, 0).sum(axis=1)
    if not convention.startswith("hash"):  # the divisor is certain, so the split tie is a tie of its first places
        whole[query] += precision_sum(*cut)
        return np.asarray(whole / _divisor(tally, k, convention, found))
    expected = whole / np.maximum(1, found)
    n, good, before, good_before, taken = cut
    expected[query] = 0
    for case, x, chance in draws(n, good, taken, likely=True):
        ranked = precision_sum(taken[case], x, before[case], good_before[case], taken[case])
        value = chance * (whole[query][case] + ranked) / np.maximum(1, good_before[case] + x)
        expected[query] += np.bincount(case, value, minlength=len(query))
    return np.asarray(expected)


def average_precision_bounds(tally: Tally, k: int | None, convention: Convention) -> tuple[Floats, Floats]:
    """The least and the most that AP@k can be, over all orders inside the ties.

    In the `hash` conventions one relevant item more, far down, can lower the mean: the best order of the tie that
    the cut splits need not have the most relevant items before the cut. So every number of them is tried.
    """
    t = ties(tally, k)
    inside = t.taken == t.n
    worst = np.where(inside, sum_at_end(t.good, t.before + t.n, t.good_before), 0).sum(axis=1)
    best = np.where(inside, sum_at_start(t.good, t.before, t.good_before), 0).sum(axis=1)
    found = np.where(inside, t.good, 0).sum(axis=1)
    query, tie = t.cut
    base = worst[query], best[query]
    for bound, start in ((worst, np.inf), (best, -np.inf)):
        bound /= _divisor(tally, k, convention, found)
        bound[query] = start
    n, good, before, good_before, taken = (
        column[query, tie] for column in (t.n, t.good, t.before, t.good_before, t.taken)
    )
    for case, x, _ in draws(n, good, taken, likely=False):
        divisor = _divisor(tally, k, convention, good_before[case] + x, query[case])
        last, first = (
            sum_at_end(x, (before + taken)[case], good_before[case]),
            sum_at_start(x, before[case], good_before[case]),
        )
        np.minimum.at(worst, query[case], (base[0][case] + last) / divisor)
        np.maximum.at(best, query[case], (base[1][case] + first) / divisor)
    return worst, best


def precision_sum(n: Counts, good: Counts, before: Counts, good_before: Counts, taken: Counts) -> Floats:
    """The expected sum of precisions at the relevant ranks among the first `taken` places of a tie.

    Over the places j = 1..taken: (good / n) (good_before + 1 + (j - 1) (good - 1) / (n - 1)) / (before + j).
    """
    sums = harmonic(before + taken) - harmonic(before)
    slope = (good - 1) / np.maximum(1, n - 1)
    # (j - 1) / (before + j) = 1 - (before + 1) / (before + j)
    return np.asarray(good / np.maximum(1, n) * ((good_before + 1) * sums + slope * (taken - (before + 1) * sums)))


def sum_at_start(good: Counts, before: Counts, good_before: Counts) -> Floats:
    """The sum of precisions where the relevant items of a tie come first."""
    return np.asarray(good - (before - good_before) * (harmonic(before + good) - harmonic(before)))


def sum_at_end(good: Counts, end: Counts, good_before: Counts) -> Floats:
    """The sum of precisions where the relevant items of a tie come last, up to the rank `end`."""
    return np.asarray(good - (end - good - good_before) * (harmonic(end) - harmonic(end - good)))


def _divisor(
    tally: Tally, k: int | None, convention: Convention, found: Counts, query: NDArray[np.intp] | None = None
) -> Counts:
    if convention.startswith("hash"):
        return np.maximum(1, found)
    relevant = tally.good.sum(axis=1)
    most = relevant if convention == "ir" or k is None else np.minimum(k, relevant)
    return np.asarray(np.maximum(1, most if query is None else most[query]))
