"""From figures of queries to one figure: the mean, how sure it is, and what ties could make of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hashgrain.evaluate.chances import Floats
from hashgrain.evaluate.counting import Tally
from hashgrain.evaluate.ranking import Convention, average_precision, average_precision_bounds, found_at, hit_rate


@dataclass(frozen=True)
class Figure:
    """A mean over queries. `error` is its standard error over queries; `worst` and `best` are reached by orders
    inside the ties, where that was asked."""

    value: float
    error: float
    worst: float | None = None
    best: float | None = None


def mean(values: Floats, worst: Floats | None = None, best: Floats | None = None) -> Figure:
    """The plain mean over queries."""
    if not len(values):
        return Figure(0.0, 0.0)
    error = float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else 0.0
    bounds = [None if bound is None else float(bound.mean()) for bound in (worst, best)]
    return Figure(float(values.mean()), error, *bounds)


def mean_average_precision(tally: Tally, k: int | None = None, convention: Convention = "hash") -> Figure:
    """mAP@k with its bounds over tie orders."""
    values, bounds = average_precision(tally, k, convention), average_precision_bounds(tally, k, convention)
    if convention != "hash-skip":
        return mean(values, *bounds)
    sure = found_at(tally.untied(best=False), k) > 0.5  # whole numbers, but for rounding
    return _mean_of_found(values, hit_rate(tally, k), *bounds, sure, 1 / (k or 1))


def _mean_of_found(
    values: Floats, found: Floats, worst: Floats, best: Floats, sure: NDArray[np.bool_], least: float
) -> Figure:
    """The mean in the `hash-skip` convention: queries that found nothing are left out.

    `found` is the chance that a query finds anything relevant before the cut, `sure` whether it always does, and
    `least` the least AP of one that does. Under ties, how many queries count is uncertain too: the expectation here
    is the expected sum over the expected number, and the bounds also choose which uncertain queries find nothing.
    """
    counted = float(found.sum())
    if not counted:
        return Figure(0.0, 0.0, 0.0, 0.0)
    value = float(values.sum() / counted)
    kept = found > 0
    errors = (values - value * found)[kept]
    error = float(np.sqrt((errors**2).sum()) / counted) if len(errors) > 1 else 0.0
    unsure = kept & ~sure
    lowest = _least_mean(worst[sure], np.full(int(unsure.sum()), least))
    return Figure(value, error, lowest, -_least_mean(-best[sure], -best[unsure]))


def _least_mean(sure: Floats, optional: Floats) -> float:
    """The least mean of all sure values and any of the optional ones (at least one value)."""
    ordered = np.sort(optional)
    sums, counts = sure.sum() + np.r_[0.0, np.cumsum(ordered)], len(sure) + np.arange(len(ordered) + 1)
    return float((sums[counts > 0] / counts[counts > 0]).min()) if (counts > 0).any() else 0.0
