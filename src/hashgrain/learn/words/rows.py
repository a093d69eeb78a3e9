"""The `text` of a bundle: for each class a row of real numbers, by which the bits of a picture tell of it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

RIDGE = 0.1  # beside bits, whose variance is at most 1


def class_rows(codes: NDArray[np.uint8], probabilities: NDArray[np.floating]) -> NDArray[np.float32]:
    """(classes, bits): the linear estimate of each class's chance from bits, by ridge regression over pictures
    without labels; every row of length 1, since a class that is rare there is not worth less.

    `codes` are zeros and ones (n, bits), `chances` what the network gives the classes (n, classes). Against the mean
    code of a class this takes out what bits say in common: with it words find their class sooner.
    """
    bits = codes.astype(np.float32) * 2 - 1
    bits -= bits.mean(axis=0)
    covariance = bits.T @ bits / len(bits) + RIDGE * np.eye(bits.shape[1], dtype=np.float32)
    together = bits.T @ (probabilities - probabilities.mean(axis=0)) / len(bits)
    rows = np.linalg.solve(covariance, together).T
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9), np.float32)
