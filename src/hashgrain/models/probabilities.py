"""The probability for each distance that a pair belongs together, fitted on pairs of which that is known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Distances = NDArray[np.int64]
Floats = NDArray[np.float64]
BINS = 10  # of the expected calibration error
FOLDS = 5
DIGITS = 5  # of a probability


@dataclass(frozen=True)
class Pairs:
    """Distances at one grain: of pairs that belong together and of pairs that do not."""

    together: Distances
    apart: Distances


def falling(values: Floats, weights: Floats) -> Floats:
    """The closest sequence that never increases (pool adjacent violators; Ayer et al., 1955)."""
    blocks: list[list[float]] = []  # value, weight, length
    for value, weight in zip(values, weights, strict=True):
        blocks.append([float(value), float(weight), 1])
        while len(blocks) > 1 and blocks[-2][0] < blocks[-1][0]:
            last, before = blocks.pop(), blocks.pop()
            total = last[1] + before[1]
            blocks.append([(last[0] * last[1] + before[0] * before[1]) / total, total, last[2] + before[2]])
    return np.concatenate([np.full(int(length), value) for value, _, length in blocks])


def fitted(pairs: Pairs, bits: int) -> tuple[float, ...]:
    """For each distance, the probability that a pair belongs together if half of all pairs do; never increasing.

    Neighboring distances are pooled until the shares fall, and each pool counts one more pair of either kind: few pairs
    are no certainty. Distances that no pair has lie on a line between those that some have.
    """
    one = np.array([1 / len(pairs.together), 1 / len(pairs.apart)])
    counts = [np.bincount(each, minlength=bits + 1) for each in (pairs.together, pairs.apart)]
    shares = np.stack(counts, axis=1) * one
    known = np.flatnonzero(shares.sum(axis=1))
    weights = shares[known].sum(axis=1)
    pooled = falling(shares[known, 0] / weights, weights)
    starts = np.flatnonzero(np.r_[True, pooled[1:] != pooled[:-1]])
    pools = np.add.reduceat(shares[known], starts) + one
    weights = pools.sum(axis=1)
    smoothed = falling(pools[:, 0] / weights, weights)
    by_distance = np.repeat(smoothed, np.diff(np.r_[starts, len(known)]))
    return tuple(round(float(each), DIGITS) for each in np.interp(np.arange(bits + 1), known, by_distance))


def calibration_error(together: Floats, apart: Floats) -> float:
    """The expected calibration error if half of all pairs belong together, for the probabilities of both kinds."""
    likely = np.concatenate([together, apart])
    right = np.arange(len(likely)) < len(together)
    return expected_calibration_error(likely, right, np.where(right, 0.5 / len(together), 0.5 / len(apart)))


def expected_calibration_error(likely: Floats, right: NDArray[np.bool_], weights: Floats | None = None) -> float:
    """How far, on average, a probability is from the share of what is right around it, in ten bins of equal width
    (Naeini et al., 2015). The weights sum to 1; without them, all count the same."""
    if weights is None:
        weights = np.full(len(likely), 1 / len(likely))
    bins = np.minimum((likely * BINS).astype(np.int64), BINS - 1)
    return float(np.abs(np.bincount(bins, weights * (right - likely), minlength=BINS)).sum())


def cross_validated(pairs: Pairs, bits: int) -> tuple[Floats, Floats]:
    """The probability for each pair of either kind, fitted on the pairs of the other folds."""
    random = np.random.default_rng(0)
    of_fold = [random.permutation(len(each)) % FOLDS for each in (pairs.together, pairs.apart)]
    likely = np.zeros(len(pairs.together)), np.zeros(len(pairs.apart))
    for fold in range(FOLDS):
        rest = Pairs(pairs.together[of_fold[0] != fold], pairs.apart[of_fold[1] != fold])
        table = np.array(fitted(rest, bits))
        for each, distances, folds in zip(likely, (pairs.together, pairs.apart), of_fold, strict=True):
            each[folds == fold] = table[distances[folds == fold]]
    return likely
