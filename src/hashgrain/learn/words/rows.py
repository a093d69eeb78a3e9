"""The `text` table of a bundle: for each class, weights of the bits that score it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

RIDGE = 0.1  # beside bits, whose variance is at most 1


def class_rows(codes: NDArray[np.uint8], probabilities: NDArray[np.floating]) -> NDArray[np.float32]:
    """(classes, bits): a linear estimate of each class's probability from bits, by ridge regression over unlabelled
    pictures; every row has length 1, so that rare classes count as much as others.

    `codes` are zeros and ones (n, bits), `probabilities` the network's softmax (n, classes). Unlike the mean code of a
    class, this removes correlations between bits: words then rank their class higher.
    """
    bits = codes.astype(np.float32) * 2 - 1
    bits -= bits.mean(axis=0)
    covariance = bits.T @ bits / len(bits) + RIDGE * np.eye(bits.shape[1], dtype=np.float32)
    together = bits.T @ (probabilities - probabilities.mean(axis=0)) / len(bits)
    rows = np.linalg.solve(covariance, together).T
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9), np.float32)
