"""Graded relevance: how much an answer has to do with the query, by labels shared or levels in common.

Expectations over a random order inside each tie. Each function gives one figure a query; where nothing in the
database has to do with the query, 0. With `tally.untied(best=...)` they give the bounds, but for a WAP whose cut-off
splits a tie: one item of a low grade more, far down, can lower it.

Two families that are both called nDCG: `ndcg` with gains 2^r - 1, and `hierarchical_ndcg`, linear in the levels,
with ranks 1 and 2 not discounted and the mean over all cut-offs taken. They are not comparable.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from hashgrain.evaluate.chances import Counts, Floats, draws, harmonic
from hashgrain.evaluate.counting import Tally
from hashgrain.evaluate.ranking import positive, ties

Gain = Literal["exponential", "linear"]


def gains(tally: Tally, gain: Gain) -> Floats:
    """What an item of each grade is worth."""
    grades = np.arange(tally.graded.shape[1], dtype=np.float64)
    return 2**grades - 1 if gain == "exponential" else grades


def average_cumulative_gain(tally: Tally, k: int | None = None) -> Floats:
    """ACG@k: the mean grade of the first k."""
    t = ties(tally, k)
    each = _gain_of_ties(tally, gains(tally, "linear")) / np.maximum(1, t.n)
    return np.asarray((each * t.taken).sum(axis=1) / max(1, tally.database if k is None else min(k, tally.database)))


def ndcg(tally: Tally, k: int | None = None, gain: Gain = "exponential") -> Floats:
    """DCG@k over the best there could be; rank i counts 1 / log2(1 + i)."""
    worth = gains(tally, gain)
    return _share(_dcg(tally, k, worth), _dcg(_ideal(tally), k, worth))


def weighted_average_precision(tally: Tally, k: int | None = None) -> Floats:
    """WAP@k: the mean of ACG@i over the ranks i <= k whose item has any grade above 0."""
    t = ties(tally.relevant_at(1), k)
    gain = _gain_of_ties(tally, gains(tally, "linear"))
    gain_before, each = np.cumsum(gain, axis=1) - gain, gain / np.maximum(1, t.good)
    inside = t.taken == t.n
    whole = np.where(inside, _acg_sum(t.n, t.good, t.before, gain_before, each), 0).sum(axis=1)
    expected = whole / np.maximum(1, np.where(inside, t.good, 0).sum(axis=1))
    query, tie = t.cut
    n, good, before, good_before, taken = (
        column[query, tie] for column in (t.n, t.good, t.before, t.good_before, t.taken)
    )
    gain_before, each = gain_before[query, tie], each[query, tie]
    expected[query] = 0
    for case, x, chance in draws(n, good, taken, likely=True):
        ranked = _acg_sum(taken[case], x, before[case], gain_before[case], each[case])
        value = chance * (whole[query][case] + ranked) / np.maximum(1, good_before[case] + x)
        expected[query] += np.bincount(case, value, minlength=len(query))
    return np.asarray(expected)


def hierarchical_precision(tally: Tally, k: int) -> Floats:
    """HP@k: the levels in common of the first k, summed, over the most there could be."""
    return _share(*(found[:, -1] for found in _cumulated(tally, k)))


def hierarchical_average_precision(tally: Tally, k: int = 2500) -> Floats:
    """AHP@k: the mean of HP@i over the ranks 1 to k, or to the last there is."""
    found, ideal = _cumulated(tally, k)
    return np.asarray(_share(found, ideal).mean(axis=1))


def hierarchical_ndcg(tally: Tally, k: int = 100) -> Floats:
    """The mean over the cut-offs 1 to k of an nDCG with linear gains, ranks 1 and 2 in full, then 1 / log2(rank).

    Where the database has fewer than k items, the mean is over as many cut-offs as there are items.
    """
    found, ideal = (np.diff(each, axis=1, prepend=0.0) for each in _cumulated(tally, k))
    ranks = np.arange(1, found.shape[1] + 1)
    discount = 1 / np.log2(np.maximum(2, ranks))
    return np.asarray(_share(np.cumsum(found * discount, axis=1), np.cumsum(ideal * discount, axis=1)).mean(axis=1))


def _gain_of_ties(tally: Tally, worth: Floats) -> Floats:
    """(queries, bins): what the items of each tie are worth together."""
    return np.asarray(np.einsum("qgb,g->qb", tally.graded, worth))


def _ideal(tally: Tally) -> Tally:
    """The best ranking of the same items: one bin a grade, the highest first."""
    totals = tally.graded.sum(axis=2)[:, ::-1]
    graded = np.zeros((*totals.shape, totals.shape[1]), np.int64)
    for place in range(totals.shape[1]):
        graded[:, totals.shape[1] - 1 - place, place] = totals[:, place]
    return Tally(graded, tally.relevant_from)


def _dcg(tally: Tally, k: int | None, worth: Floats) -> Floats:
    t = ties(tally, k)
    discounts = np.concatenate([[0.0], np.cumsum(1 / np.log2(np.arange(2, tally.database + 2)))])
    counted = discounts[t.before + t.taken] - discounts[t.before]
    return np.asarray((_gain_of_ties(tally, worth) / np.maximum(1, t.n) * counted).sum(axis=1))


def _acg_sum(n: Counts, good: Counts, before: Counts, gain_before: Floats, each: Floats) -> Floats:
    """The expected sum of ACG at the ranks of the good ones of a tie of n, where good ones are worth `each`.

    Over the places j = 1..n: (good / n) (gain_before + each + (j - 1) (good - 1) / (n - 1) each) / (before + j).
    """
    sums = harmonic(before + n) - harmonic(before)
    slope = each * (good - 1) / np.maximum(1, n - 1)
    return np.asarray(good / np.maximum(1, n) * ((gain_before + each) * sums + slope * (n - (before + 1) * sums)))


def _cumulated(tally: Tally, k: int) -> tuple[Floats, Floats]:
    """(queries, k): the expected levels in common up to each rank, and the most there could be."""
    ranks = np.arange(1, min(positive(k), max(1, tally.database)) + 1)
    sums = []
    for counted in (tally, _ideal(tally)):
        worth = np.cumsum(_gain_of_ties(counted, gains(tally, "linear")), axis=1)
        ends = np.cumsum(counted.all, axis=1)
        sums.append(np.array([np.interp(ranks, np.r_[0, e], np.r_[0.0, w]) for e, w in zip(ends, worth, strict=True)]))
    found, ideal = (each.reshape(len(tally), len(ranks)) for each in sums)
    return found, ideal


def _share(found: Floats, ideal: Floats) -> Floats:
    return np.asarray(np.divide(found, ideal, out=np.zeros_like(found), where=ideal > 0))
