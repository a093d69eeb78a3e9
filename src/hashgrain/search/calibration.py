"""What a distance means: the probability and the word, of a whole item or of one of its parts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hashgrain.models import Bundle, Calibration


@dataclass(frozen=True)
class Odds:
    """The probabilities at one grain, by distance: of whole items, and of the nearest part of an item.

    That of a part is never above that of a whole: an item has many parts, so one of them is near more easily.
    """

    whole: NDArray[np.float64]
    part: NDArray[np.float64]


def odds_of(bundle: Bundle, grain: str) -> Odds | None:
    """None where the model was not calibrated for both."""
    whole, part = bundle.calibration.get(grain), bundle.part_calibration.get(grain)
    if whole is None or part is None:
        return None
    probabilities = np.array(whole.probabilities)
    return Odds(probabilities, np.minimum(probabilities, np.array(part.probabilities)))


def score_of(distance: int, bits: int, part: int, whole_of: Calibration | None, part_of: Calibration | None) -> float:
    """The probability that an item belongs to the query, by a distance of it, or of its part of this number; without a
    calibration, the share of equal bits."""
    if whole_of is None:
        return 1 - distance / bits
    probability = whole_of.probabilities[distance]
    return probability if not part or part_of is None else min(probability, part_of.probabilities[distance])


def word_of(distance: int, part: int, whole_of: Calibration, part_of: Calibration | None) -> str:
    return (part_of if part and part_of is not None else whole_of).word(distance)
