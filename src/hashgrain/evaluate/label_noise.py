"""Label noise: labels that are wrong on purpose, to measure their effect."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hashgrain.errors import TrainingError


def flip_labels(labels: NDArray[np.int64], share: float, seed: int) -> NDArray[np.int64]:
    """A copy in which exactly round(share * n) items have another class, drawn uniformly from the other classes."""
    if not 0 <= share <= 1:
        raise TrainingError(f"label noise of {share} is out of range; it is a share of the labels, from 0 to 1")
    classes, places = np.unique(labels, return_inverse=True)
    count = round(share * len(labels))
    if count and len(classes) < 2:
        raise TrainingError("labels to flip: all are of one class, so there is no other; give two classes or more")
    dice = np.random.default_rng(seed)
    chosen = dice.permutation(len(labels))[:count]
    # A step of 1 to n - 1 modulo n never returns to the same class.
    steps = dice.integers(1, max(2, len(classes)), count)
    flipped: NDArray[np.int64] = labels.copy()
    flipped[chosen] = classes[(places[chosen] + steps) % max(1, len(classes))]
    return flipped
