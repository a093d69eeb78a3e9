"""The reference methods, which trained codes must beat. They are fitted on training pictures only.

A classifier's prediction written as bits wins the usual protocols, so every report includes it. It also includes the
cosine of the features (an upper bound for bits) and PCA with a random rotation (bits without training).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hashgrain.codes import Codes, Grains
from hashgrain.errors import EvaluationError, TrainingError
from hashgrain.evaluate.labels import Labels, Paths
from hashgrain.hashers import ITQ, LSH, Features, Hasher, PCARotation, as_features
from hashgrain.hashers import most_directions as most_directions

Hash = Callable[[Features], Codes]  # features (n, values) to codes
RIDGE = 1e-3  # of the mean variance of the features
EDGE = 32  # pixels of the scaled picture in a perceptual hash


def check_features(features: Features, name: str) -> Features:
    try:
        return as_features(features, name)
    except TrainingError as error:
        raise EvaluationError(str(error)) from None


def unit(rows: Features) -> Features:
    """Rows of length 1, so that their dot products are cosines."""
    return np.asarray(rows / (np.linalg.norm(rows, axis=1, keepdims=True) + 1e-9), np.float32)


def lsh(features: Features, bits: int, seed: int) -> Hash:
    return _fitted(LSH(bits, seed), features)


def pca_rotation(features: Features, bits: int, seed: int) -> Hash:
    """The strongest hash without training."""
    return _fitted(PCARotation(bits, seed), features)


def itq(features: Features, bits: int, seed: int) -> Hash:
    return _fitted(ITQ(bits, seed), features)


def classifier(features: Features, labels: Labels) -> Hash:
    """The class that a linear classifier predicts, as a code with one bit per class (for label sets, every label)."""
    targets = _targets(labels)
    grains = Grains(label=targets.shape[1])
    mean, offset = features.mean(axis=0, dtype=np.float64), targets.mean(axis=0)
    centered = (features - mean).astype(np.float64)
    gram = centered.T @ centered
    gram[np.diag_indices_from(gram)] += RIDGE * np.trace(gram) / len(gram) or 1.0  # 1: they are all the same
    weights = np.linalg.solve(gram, centered.T @ (targets - offset))

    def encode(rows: Features) -> Codes:
        scores = (rows - mean) @ weights + offset
        if isinstance(labels, Paths):
            return Codes.from_bits(np.eye(targets.shape[1], dtype=np.uint8)[scores.argmax(axis=1)], grains)
        return Codes.from_bits(scores >= 0.5, grains)

    return encode


def color_histogram(pixels: NDArray[np.uint8]) -> Features:
    """Square roots of the shares of 8 x 8 x 8 colors: unit vectors (n, 512)."""
    n = len(pixels)
    bins = (pixels >> 5).astype(np.int64) @ np.array([64, 8, 1])
    size = bins.shape[1] * bins.shape[2]
    flat = (bins.reshape(n, size) + np.arange(n)[:, None] * 512).ravel()
    counts = np.bincount(flat, minlength=n * 512).reshape(n, 512)
    return np.asarray(np.sqrt(counts / max(1, size)), np.float32)


def perceptual_hash(pixels: NDArray[np.uint8], bits: int) -> Codes:
    """The lowest frequencies of the gray picture, compared with their median (our own implementation of pHash)."""
    height, width = _block(bits)
    if not height:
        raise EvaluationError(f"a perceptual hash has 16, 32, 64, 128 ... bits, not {bits}")
    gray = _shrunk(pixels @ np.array([0.299, 0.587, 0.114], np.float32))
    cosines = np.cos(np.pi / EDGE * (np.arange(EDGE) + 0.5) * np.arange(EDGE)[:, None])
    low = (cosines[:height] @ gray @ cosines[:width].T).reshape(len(pixels), bits)
    return Codes.from_bits(low > np.median(low, axis=1, keepdims=True), Grains(look=bits))


def has_perceptual_hash(bits: int) -> bool:
    """Whether a block of frequencies has this number of bits."""
    return _block(bits)[0] > 0


def _block(bits: int) -> tuple[int, int]:
    """The vertical and horizontal numbers of frequencies; 0 where there is no such block."""
    height = 1 << max(0, bits.bit_length() - 1) // 2
    width = bits // height
    return (height, width) if bits >= 1 and height * width == bits and width <= EDGE >= height else (0, 0)


def _shrunk(gray: NDArray[Any]) -> NDArray[Any]:
    """Means over an even grid of EDGE x EDGE; a smaller picture is repeated."""
    for axis in (1, 2):
        size = gray.shape[axis]
        if size < EDGE:
            gray = np.take(gray, np.arange(EDGE) * size // EDGE, axis=axis)
        else:
            starts = np.arange(EDGE) * size // EDGE
            counts = np.diff(np.r_[starts, size]).astype(np.float32)
            shape = (1, EDGE, 1) if axis == 1 else (1, 1, EDGE)
            gray = np.add.reduceat(gray, starts, axis=axis) / counts.reshape(shape)
    return gray


def _fitted(hasher: Hasher, features: Features) -> Hash:
    try:
        projection = hasher.fit(features).projection
    except TrainingError as error:
        raise EvaluationError(str(error)) from None
    return _signs(projection.mean, projection.directions, Grains(look=hasher.bits))


def _signs(mean: Features, projection: NDArray[np.float64], grains: Grains) -> Hash:
    return lambda rows: Codes.from_outputs((rows - mean) @ projection, grains)


def _targets(labels: Labels) -> NDArray[np.float64]:
    """(n, classes): 1 for the class or the labels of an item."""
    if isinstance(labels, Paths):
        last = labels.ids[:, -1]
        return np.asarray(
            last[:, None] == np.arange(int(last.max()) + 1), np.float64
        )  # all 0 where the class is not known
    bits = np.unpackbits(labels.words.view(np.uint8), axis=1, bitorder="little")
    used = int(np.flatnonzero(bits.any(axis=0)).max(initial=0)) + 1
    return bits[:, :used].astype(np.float64)
