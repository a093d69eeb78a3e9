"""Precision, recall and average precision by rank, exact under ties.

Short codes have hundreds of ties, and the order of ties can change mAP by ten points. So these figures are
expectations over a random order inside each tie, in closed form: by McSherry and Najork for whole ties; a tie that the
cut-off k splits is averaged over the number of its relevant items before the cut. Ties are by distance at the grain
alone, the published convention, without the finer order of our own search.

A cut-off of None means the whole list. Each function gives one figure per query.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from hashgrain.errors import EvaluationError
from hashgrain.evaluate.counting import Tally
from hashgrain.evaluate.hypergeometric import Counts, Floats, draws, harmonic

# The divisor of the sum of precisions at the relevant ranks: the number of hits among the first k (usual in hashing;
# `hash-skip` also leaves queries without a hit out of the mean), of all relevant items, or of the most possible hits
# among k.
Convention = Literal["hash", "hash-skip", "ir", "min"]
CONVENTIONS: tuple[Convention, ...] = get_args(Convention)


@dataclass(frozen=True, eq=False)
class Ranking:
    """The ties of a tally up to a cut-off, and sums that the figures at that cut-off share."""

    tally: Tally
    k: int | None

    @cached_property
    def taken(self) -> Counts:
        """The number of items of each tie before the cut."""
        n = self.tally.all
        return n if self.k is None else np.clip(positive(self.k) - self.tally.before, 0, n)

    @cached_property
    def whole(self) -> NDArray[np.bool_]:
        """Which ties are completely before the cut."""
        return np.asarray(self.taken == self.tally.all)

    @cached_property
    def cut(self) -> Cut:
        """The ties that the cut splits, at most one per query."""
        t, query_and_tie = self.tally, np.nonzero((self.taken > 0) & ~self.whole)
        columns = (t.all, t.good, t.before, t.good_before, self.taken)
        return Cut(query_and_tie[0], query_and_tie[1], *(column[query_and_tie] for column in columns))

    @cached_property
    def whole_hits(self) -> Counts:
        """The number of relevant items in ties that are completely before the cut."""
        return np.asarray(np.where(self.whole, self.tally.good, 0).sum(axis=1))

    @cached_property
    def hits(self) -> Floats:
        """The expected number of relevant items before the cut."""
        cut, hits = self.cut, self.whole_hits.astype(np.float64)
        hits[cut.query] += cut.good * cut.taken / np.maximum(1, cut.n)
        return hits

    @cached_property
    def hit(self) -> Floats:
        """The probability that a relevant item is before the cut."""
        cut, hit = self.cut, (self.whole_hits > 0).astype(np.float64)
        probabilities = np.zeros(len(cut.query))  # summed, instead of 1 - P(miss), so that small ones are exact
        for case, x, chance in draws(cut.n, cut.good, cut.taken, likely=True):
            probabilities += np.bincount(case, chance * (x > 0), minlength=len(cut.query))
        hit[cut.query] = np.maximum(hit[cut.query], probabilities)
        return hit

    @cached_property
    def certain(self) -> NDArray[np.bool_]:
        """Whether a relevant item is before the cut in every order of the ties."""
        cut, certain = self.cut, self.whole_hits > 0
        certain[cut.query] |= cut.taken > cut.n - cut.good
        return certain

    @cached_property
    def sums(self) -> Floats:
        """The expected sums of precisions over ties that are completely before the cut."""
        t = self.tally
        return self._total(precision_sum(t.all, t.good, t.before, t.good_before, t.all))

    @cached_property
    def bounds(self) -> tuple[Floats, Floats]:
        """The same sums for the worst and the best order of each tie."""
        t = self.tally
        if t.tie_free:
            return self.sums, self.sums
        worst, best = sum_at_end(t.good, t.before + t.all, t.good_before), sum_at_start(t.good, t.before, t.good_before)
        return self._total(worst), self._total(best)

    def _total(self, sums: Floats) -> Floats:
        return np.asarray(np.where(self.whole, sums, 0).sum(axis=1))

    def divisor(self, convention: Convention, hits: Counts, query: NDArray[np.intp] | None = None) -> Counts:
        """The divisor of the sum of precisions, for a number of hits."""
        if convention.startswith("hash"):
            return np.maximum(1, hits)
        relevant = self.tally.relevant
        most = relevant if convention == "ir" or self.k is None else np.minimum(self.k, relevant)
        return np.asarray(np.maximum(1, most if query is None else most[query]))


@dataclass(frozen=True, eq=False)
class Cut:
    """Split ties as columns: items, relevant items, items and relevant items in earlier ties, items before the cut."""

    query: NDArray[np.intp]
    tie: NDArray[np.intp]
    n: Counts
    good: Counts
    before: Counts
    good_before: Counts
    taken: Counts


def positive(k: int) -> int:
    if k < 1:
        raise EvaluationError(f"a cut-off of {k} is out of range; it is 1 or more")
    return k


def precision(ranking: Tally | Ranking, k: int | None = None) -> Floats:
    """The share of relevant items among the first k, or among all if there are fewer."""
    r = _ranking(ranking, k)
    return np.asarray(r.hits / max(1, r.tally.database if r.k is None else min(r.k, r.tally.database)))


def most_precision(ranking: Tally | Ranking, k: int | None = None) -> Floats:
    """The highest possible `precision`: less than 1 if fewer than k items are relevant."""
    r = _ranking(ranking, k)
    places = max(1, r.tally.database if r.k is None else min(r.k, r.tally.database))
    return np.asarray(np.minimum(r.tally.relevant, places) / places)


def r_precision(ranking: Tally | Ranking, k: int | None = None) -> Floats:
    """The precision of the first R items, where R is the number of relevant ones: every query with relevant items can
    reach 1. `k` limits R."""
    tally = _ranking(ranking, k).tally
    relevant = tally.relevant if k is None else np.minimum(tally.relevant, positive(k))
    ends, sums = (np.cumsum(each, axis=1) for each in (tally.all, tally.good))
    rows = zip(relevant, ends, sums, strict=True)
    values = [float(np.interp(at, np.r_[0, end], np.r_[0, total])) for at, end, total in rows]  # even inside a tie
    return np.asarray(values, np.float64) / np.maximum(1, relevant)


def recall(ranking: Tally | Ranking, k: int | None = None) -> Floats:
    """The share of all relevant items that are among the first k; 0 where there are none."""
    r = _ranking(ranking, k)
    return np.asarray(r.hits / np.maximum(1, r.tally.relevant))


def hit_rate(ranking: Tally | Ranking, k: int | None = None) -> Floats:
    """The probability that a relevant item is among the first k."""
    return _ranking(ranking, k).hit


def average_precision(ranking: Tally | Ranking, k: int | None = None, convention: Convention = "hash") -> Floats:
    """Expected AP@k. A query without a hit counts 0 (`hash-skip` differs only in the mean)."""
    r = _ranking(ranking, k)
    cut, sums = r.cut, r.sums.copy()
    if not convention.startswith("hash"):  # the divisor is fixed, so the split tie is a tie of its first places
        sums[cut.query] += precision_sum(cut.n, cut.good, cut.before, cut.good_before, cut.taken)
        return np.asarray(sums / r.divisor(convention, r.whole_hits))
    expected = sums / r.divisor(convention, r.whole_hits)
    expected[cut.query] = 0
    for case, x, chance in draws(cut.n, cut.good, cut.taken, likely=True):
        ranked = precision_sum(cut.taken[case], x, cut.before[case], cut.good_before[case], cut.taken[case])
        value = chance * (sums[cut.query][case] + ranked) / np.maximum(1, cut.good_before[case] + x)
        expected[cut.query] += np.bincount(case, value, minlength=len(cut.query))
    return np.asarray(expected)


def average_precision_bounds(
    ranking: Tally | Ranking, k: int | None = None, convention: Convention = "hash"
) -> tuple[Floats, Floats]:
    """The lowest and the highest AP@k over all orders inside the ties.

    In the `hash` conventions one more relevant item, far down, can lower the AP: the best order of a split tie need not
    have the most relevant items before the cut. So every number of them is tried.
    """
    r = _ranking(ranking, k)
    cut = r.cut
    base = [sums[cut.query] for sums in r.bounds]
    worst, best = (sums / r.divisor(convention, r.whole_hits) for sums in r.bounds)
    worst[cut.query], best[cut.query] = np.inf, -np.inf
    for case, x, _ in draws(cut.n, cut.good, cut.taken, likely=False):
        query, before, good_before = cut.query[case], cut.before[case], cut.good_before[case]
        divisor = r.divisor(convention, good_before + x, query)
        last, first = sum_at_end(x, before + cut.taken[case], good_before), sum_at_start(x, before, good_before)
        np.minimum.at(worst, query, (base[0][case] + last) / divisor)
        np.maximum.at(best, query, (base[1][case] + first) / divisor)
    return worst, best


def _ranking(ranking: Tally | Ranking, k: int | None) -> Ranking:
    return ranking if isinstance(ranking, Ranking) else Ranking(ranking, k)


def cumulated(counts: Counts, worth: Floats | Counts, ranks: Counts) -> Floats:
    """(queries, ranks): the expected gain of the items up to each rank; it is linear inside a tie."""
    expected = np.empty((len(counts), len(ranks)))
    ends, sums = np.cumsum(counts, axis=1), np.cumsum(worth, axis=1)
    for row, end, total in zip(expected, ends, sums, strict=True):
        row[:] = np.interp(ranks, np.r_[0, end], np.r_[0, total])
    return expected


def precision_sum(n: Counts, good: Counts, before: Counts, good_before: Counts, taken: Counts) -> Floats:
    """The expected sum of precisions at the relevant ranks among the first `taken` places of a tie.

    Over the places j = 1..taken: (good / n) (good_before + 1 + (j - 1) (good - 1) / (n - 1)) / (before + j).
    """
    sums = harmonic(before + taken) - harmonic(before)
    slope = (good - 1) / np.maximum(1, n - 1)
    # (j - 1) / (before + j) = 1 - (before + 1) / (before + j)
    return np.asarray(good / np.maximum(1, n) * ((good_before + 1) * sums + slope * (taken - (before + 1) * sums)))


def sum_at_start(good: Counts, before: Counts, good_before: Counts) -> Floats:
    """The sum of precisions if the relevant items of a tie come first."""
    return np.asarray(good - (before - good_before) * (harmonic(before + good) - harmonic(before)))


def sum_at_end(good: Counts, end: Counts, good_before: Counts) -> Floats:
    """The sum of precisions if the relevant items of a tie come last, up to the rank `end`."""
    return np.asarray(good - (end - good - good_before) * (harmonic(end) - harmonic(end - good)))
