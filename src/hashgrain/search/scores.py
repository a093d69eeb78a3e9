"""The score of a hit, and the smallest that an answer may have.

At a grain, a score follows from the distance alone, and never grows with it: for whole items, and for parts. So the
smallest score is a largest distance for each of the two.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hashgrain.errors import QueryError
from hashgrain.hamming import Neighbours
from hashgrain.models import Bundle, Calibration
from hashgrain.search.calibration import calibrations_of
from hashgrain.search.widening import taken

DIGITS = 4  # of a score


@dataclass(frozen=True)
class Scores:
    """The score for each distance at a grain, of whole items and of parts."""

    whole: NDArray[np.float64]
    part: NDArray[np.float64]

    def of(self, neighbors: Neighbours) -> NDArray[np.float64]:
        """The score of each neighbor, by its whole or the part that was found."""
        distances = np.rint(neighbors.distances).astype(np.int64)  # means of distances are scored by the nearest bit
        if neighbors.parts is None:
            return np.asarray(self.whole[distances])
        return np.where(neighbors.parts > 0, self.part[distances], self.whole[distances])

    def radius(self, least: float) -> int:
        """The largest distance at which a whole item, or a part, has this score. 0 if there is none."""
        return max(0, int(np.count_nonzero(self.whole >= least)) - 1)


def scores_of(bundle: Bundle, grain: str) -> Scores:
    """The probability for each distance where the model is calibrated; elsewhere, the share of equal bits."""
    of_whole, of_part = calibrations_of(bundle, grain)
    whole = _by_distance(of_whole, bundle.grains[grain])
    return Scores(whole, whole if of_part is None else _by_distance(of_part, bundle.grains[grain]))


def _by_distance(calibration: Calibration | None, bits: int) -> NDArray[np.float64]:
    return np.array([score_at(distance, bits, calibration) for distance in range(bits + 1)])


def score_at(distance: int, bits: int, calibration: Calibration | None) -> float:
    score = 1 - distance / bits if calibration is None else calibration.probabilities[distance]
    return round(score, DIGITS)


def check_min_score(least: float | None) -> float | None:
    """The smallest score that is asked for."""
    number = isinstance(least, (int, float, np.integer, np.floating)) and not isinstance(least, bool)
    if least is not None and not (number and 0 <= least <= 1):
        raise QueryError(f"min_score is {least!r}; a score is a number from 0 to 1")
    return None if least is None else float(least)


def narrowed(within: int | None, least: float, scores: Scores) -> int | None:
    """The largest distance to look at, for a smallest score. One that no code has stays, for the engine to refuse."""
    radius, bits = scores.radius(least), len(scores.whole) - 1
    return radius if within is None else min(within, radius) if within <= bits else within


def at_least(neighbors: Neighbours, least: float, scores: Scores) -> Neighbours:
    """The neighbors that have a smallest score. `total` stays if all of them have it: there may be more."""
    kept = np.flatnonzero(scores.of(neighbors) >= least)
    return taken(neighbors, kept, neighbors.total if len(kept) == len(neighbors) else len(kept))
