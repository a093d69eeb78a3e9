"""From figures of queries to one figure: the mean, how sure it is, and what ties could make of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hashgrain.evaluate.chances import Floats
from hashgrain.evaluate.counting import Tally
from hashgrain.evaluate.ranking import Convention, Ranking, average_precision, average_precision_bounds


@dataclass(frozen=True)
class Figure:
    """A mean over queries. `error` is its standard error over queries; `worst` and `best` are reached by orders
    inside the ties, where that was asked."""

    value: float
    error: float
    worst: float | None = None
    best: float | None = None


@dataclass(frozen=True, eq=False)
class Precisions:
    """AP@k of queries, one by one, with what the mean in any convention needs."""

    values: Floats
    worst: Floats
    best: Floats
    found: Floats  # the chance that anything relevant stands before the cut
    sure: NDArray[np.bool_]  # whether that is so in every order of the ties
    cutoff: int | None
    convention: Convention

    @classmethod
    def of(cls, ranking: Ranking, convention: Convention) -> Precisions:
        values = average_precision(ranking, convention=convention)
        bounds = average_precision_bounds(ranking, convention=convention)
        return cls(values, *bounds, ranking.hit, ranking.certain, ranking.k, convention)

    @classmethod
    def joined(cls, parts: Sequence[Precisions]) -> Precisions:
        columns = [[getattr(part, name) for part in parts] for name in ("values", "worst", "best", "found", "sure")]
        values, worst, best, found, sure = (np.concatenate(column) for column in columns)
        return cls(values, worst, best, found, sure, parts[0].cutoff, parts[0].convention)

    def figure(self) -> Figure:
        if self.convention == "hash-skip":
            return _mean_of_found(self)
        return mean(self.values, self.worst, self.best)


def mean(values: Floats, worst: Floats | None = None, best: Floats | None = None) -> Figure:
    """The plain mean over queries."""
    if not len(values):
        return Figure(0.0, 0.0)
    error = float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else 0.0
    bounds = [None if bound is None else float(bound.mean()) for bound in (worst, best)]
    return Figure(float(values.mean()), error, *bounds)


def mean_average_precision(tally: Tally, k: int | None = None, convention: Convention = "hash") -> Figure:
    """mAP@k with its bounds over tie orders."""
    return Precisions.of(Ranking(tally, k), convention).figure()


def _mean_of_found(each: Precisions) -> Figure:
    """The mean in the `hash-skip` convention: queries that found nothing are left out.

    Under ties, how many queries count is uncertain too: the expectation here is the expected sum over the expected
    number, and the bounds also choose which uncertain queries find nothing. An uncertain one that does find
    something has an AP of 1 / k at least.
    """
    counted = float(each.found.sum())
    if not counted:
        return Figure(0.0, 0.0, 0.0, 0.0)
    value = float(each.values.sum() / counted)
    kept = each.found > 0
    errors = (each.values - value * each.found)[kept]
    error = float(np.sqrt((errors**2).sum()) / counted) if len(errors) > 1 else 0.0
    unsure = kept & ~each.sure
    lowest = _least_mean(each.worst[each.sure], np.full(int(unsure.sum()), 1 / (each.cutoff or 1)))
    return Figure(value, error, lowest, -_least_mean(-each.best[each.sure], -each.best[unsure]))


def _least_mean(sure: Floats, optional: Floats) -> float:
    """The least mean of all sure values and any of the optional ones (at least one value)."""
    ordered = np.sort(optional)
    sums, counts = sure.sum() + np.r_[0.0, np.cumsum(ordered)], len(sure) + np.arange(len(ordered) + 1)
    return float((sums[counts > 0] / counts[counts > 0]).min()) if (counts > 0).any() else 0.0
