"""Labels that are wrong on purpose, to measure how much wrong labels cost."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hashgrain.errors import TrainingError


def flip_labels(labels: NDArray[np.int64], share: float, seed: int) -> NDArray[np.int64]:
    """A copy in which exactly round(share * n) items have another class, drawn evenly from the others there are."""
    if not 0 <= share <= 1:
        raise TrainingError(f"label noise of {share} makes no sense; it is a share of the labels, from 0 to 1")
    classes, places = np.unique(labels, return_inverse=True)
    count = round(share * len(labels))
    if count and len(classes) < 2:
        raise TrainingError("labels to flip: all are of one class, there is no other to flip to; give two or more")
    dice = np.random.default_rng(seed)
    chosen = dice.permutation(len(labels))[:count]
    # A step of 1 to n - 1 around the circle of classes never comes back to where it started.
    steps = dice.integers(1, max(2, len(classes)), count)
    flipped: NDArray[np.int64] = labels.copy()
    flipped[chosen] = classes[(places[chosen] + steps) % max(1, len(classes))]
    return flipped
