"""From figures of queries to one figure: the mean, its standard error, and its bounds over the orders of ties."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hashgrain.evaluate.counting import Tally
from hashgrain.evaluate.hypergeometric import Floats
from hashgrain.evaluate.ranking import Convention, Ranking, average_precision, average_precision_bounds


@dataclass(frozen=True)
class Figure:
    """A mean over queries. `error` is its standard error over queries; `worst` and `best` are its bounds over the
    orders inside ties, if they were computed."""

    value: float
    error: float
    worst: float | None = None
    best: float | None = None


@dataclass(frozen=True, eq=False)
class Precisions:
    """AP@k of each query, with the numbers that the mean needs in any convention."""

    values: Floats
    worst: Floats
    best: Floats
    hit: Floats  # the probability that a relevant item is before the cut
    sure: NDArray[np.bool_]  # whether that holds in every order of the ties
    cutoff: int | None
    convention: Convention

    @classmethod
    def of(cls, ranking: Ranking, convention: Convention) -> Precisions:
        values = average_precision(ranking, convention=convention)
        bounds = average_precision_bounds(ranking, convention=convention)
        return cls(values, *bounds, ranking.hit, ranking.certain, ranking.k, convention)

    @classmethod
    def joined(cls, parts: Sequence[Precisions]) -> Precisions:
        columns = [[getattr(part, name) for part in parts] for name in ("values", "worst", "best", "hit", "sure")]
        values, worst, best, hit, sure = (np.concatenate(column) for column in columns)
        return cls(values, worst, best, hit, sure, parts[0].cutoff, parts[0].convention)

    def figure(self) -> Figure:
        if self.convention == "hash-skip":
            return _mean_of_hits(self)
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


def _mean_of_hits(each: Precisions) -> Figure:
    """The mean in the `hash-skip` convention: queries without a hit are left out.

    With ties, the number of counted queries is uncertain too: the value is the expected sum divided by the expected
    number, and the bounds also choose which uncertain queries have no hit. An uncertain query with a hit has an AP of
    at least 1 / k.
    """
    counted = float(each.hit.sum())
    if not counted:
        return Figure(0.0, 0.0, 0.0, 0.0)
    value = float(each.values.sum() / counted)
    possible = each.hit > 0
    errors = (each.values - value * each.hit)[possible]
    error = float(np.sqrt((errors**2).sum()) / counted) if len(errors) > 1 else 0.0
    unsure = possible & ~each.sure
    lowest = _least_mean(each.worst[each.sure], np.full(int(unsure.sum()), 1 / (each.cutoff or 1)))
    return Figure(value, error, lowest, -_least_mean(-each.best[each.sure], -each.best[unsure]))


def _least_mean(sure: Floats, optional: Floats) -> float:
    """The least mean of all sure values and any selection of the optional ones (at least one value)."""
    ordered = np.sort(optional)
    sums, counts = sure.sum() + np.r_[0.0, np.cumsum(ordered)], len(sure) + np.arange(len(ordered) + 1)
    return float((sums[counts > 0] / counts[counts > 0]).min()) if (counts > 0).any() else 0.0
