"""Graded relevance: the number of labels or levels that an item shares with the query.

All figures are expectations over a random order inside each tie. Each function gives one figure per query, 0 where
nothing in the database is relevant. With `tally.untied(best=...)` they give the bounds, except for a WAP whose cut-off
splits a tie: one more item of a low grade, far down, can lower it.

Two figures are called nDCG: `ndcg` with gains 2^r - 1, and `hierarchical_ndcg`, which is linear in the levels, does
not discount ranks 1 and 2 and averages over all cut-offs. They are not comparable.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from hashgrain.evaluate.counting import Tally
from hashgrain.evaluate.hypergeometric import Counts, Floats, draws, harmonic
from hashgrain.evaluate.ranking import Ranking, cumulated, positive

Gain = Literal["exponential", "linear"]


def gains(tally: Tally, gain: Gain) -> Floats:
    """The gain of an item of each grade."""
    grades = np.arange(tally.graded.shape[1], dtype=np.float64)
    return 2**grades - 1 if gain == "exponential" else grades


def average_cumulative_gain(tally: Tally, k: int | None = None) -> Floats:
    """ACG@k: the mean grade of the first k items."""
    each = _gain_of_ties(tally, gains(tally, "linear")) / np.maximum(1, tally.all)
    first = max(1, tally.database if k is None else min(k, tally.database))
    return np.asarray((each * Ranking(tally, k).taken).sum(axis=1) / first)


def ndcg(tally: Tally, k: int | None = None, gain: Gain = "exponential") -> Floats:
    """DCG@k divided by the ideal DCG@k; rank i has the weight 1 / log2(1 + i)."""
    worth = gains(tally, gain)
    return _share(_dcg(tally, k, worth), _dcg(_ideal(tally), k, worth))


def weighted_average_precision(tally: Tally, k: int | None = None) -> Floats:
    """WAP@k: the mean of ACG@i over the ranks i <= k whose item has any grade above 0."""
    r = Ranking(tally.relevant_at(1), k)
    t, cut = r.tally, r.cut
    gain = _gain_of_ties(t, gains(t, "linear"))
    gain_before, each = np.cumsum(gain, axis=1) - gain, gain / np.maximum(1, t.good)
    sums = np.where(r.whole, _acg_sum(t.all, t.good, t.before, gain_before, each), 0).sum(axis=1)
    expected = sums / np.maximum(1, r.whole_hits)
    expected[cut.query] = 0
    gain_before, each = gain_before[cut.query, cut.tie], each[cut.query, cut.tie]
    for case, x, chance in draws(cut.n, cut.good, cut.taken, likely=True):
        ranked = _acg_sum(cut.taken[case], x, cut.before[case], gain_before[case], each[case])
        value = chance * (sums[cut.query][case] + ranked) / np.maximum(1, cut.good_before[case] + x)
        expected[cut.query] += np.bincount(case, value, minlength=len(cut.query))
    return np.asarray(expected)


def hierarchical_precision(tally: Tally, k: int) -> Floats:
    """HP@k: the sum of shared levels over the first k items, divided by the ideal sum."""
    return _share(*(gained[:, -1] for gained in _cumulated(tally, k)))


def hierarchical_average_precision(tally: Tally, k: int = 2500) -> Floats:
    """AHP@k: the mean of HP@i over the ranks 1 to k, or to the last item."""
    gained, ideal = _cumulated(tally, k)
    return np.asarray(_share(gained, ideal).mean(axis=1))


def hierarchical_ndcg(tally: Tally, k: int = 100) -> Floats:
    """The mean over the cut-offs 1 to k of an nDCG with linear gains. Ranks 1 and 2 are not discounted, the others are
    by 1 / log2(rank).

    If the database has fewer than k items, the mean is over as many cut-offs as items.
    """
    gained, ideal = (np.diff(each, axis=1, prepend=0.0) for each in _cumulated(tally, k))
    ranks = np.arange(1, gained.shape[1] + 1)
    discount = 1 / np.log2(np.maximum(2, ranks))
    return np.asarray(_share(np.cumsum(gained * discount, axis=1), np.cumsum(ideal * discount, axis=1)).mean(axis=1))


def _gain_of_ties(tally: Tally, worth: Floats) -> Floats:
    """(queries, bins): the total gain of each tie."""
    return np.asarray(np.einsum("qgb,g->qb", tally.graded, worth))


def _ideal(tally: Tally) -> Tally:
    """The ideal ranking of the same items: one bin per grade, the highest first."""
    totals = tally.graded.sum(axis=2)[:, ::-1]
    graded = np.zeros((*totals.shape, totals.shape[1]), np.int64)
    for place in range(totals.shape[1]):
        graded[:, totals.shape[1] - 1 - place, place] = totals[:, place]
    return Tally(graded, tally.relevant_from)


def _dcg(tally: Tally, k: int | None, worth: Floats) -> Floats:
    before, taken = tally.before, Ranking(tally, k).taken
    discounts = np.concatenate([[0.0], np.cumsum(1 / np.log2(np.arange(2, tally.database + 2)))])
    counted = discounts[before + taken] - discounts[before]
    return np.asarray((_gain_of_ties(tally, worth) / np.maximum(1, tally.all) * counted).sum(axis=1))


def _acg_sum(n: Counts, good: Counts, before: Counts, gain_before: Floats, each: Floats) -> Floats:
    """The expected sum of ACG at the ranks of the good items of a tie of n, each with the gain `each`.

    Over the places j = 1..n: (good / n) (gain_before + each + (j - 1) (good - 1) / (n - 1) each) / (before + j).
    """
    sums = harmonic(before + n) - harmonic(before)
    slope = each * (good - 1) / np.maximum(1, n - 1)
    return np.asarray(good / np.maximum(1, n) * ((gain_before + each) * sums + slope * (n - (before + 1) * sums)))


def _cumulated(tally: Tally, k: int) -> tuple[Floats, Floats]:
    """(queries, k): the expected sum of shared levels up to each rank, and the ideal one."""
    ranks = np.arange(1, min(positive(k), max(1, tally.database)) + 1)
    worth = gains(tally, "linear")
    gained, ideal = (cumulated(counted.all, _gain_of_ties(counted, worth), ranks) for counted in (tally, _ideal(tally)))
    return gained, ideal


def _share(gained: Floats, ideal: Floats) -> Floats:
    return np.asarray(np.divide(gained, ideal, out=np.zeros_like(gained), where=ideal > 0))
