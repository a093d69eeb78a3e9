"""The reference rows: what codes must beat to be worth their training. Fitted on training pictures only.

A classifier's answer written in bits wins the usual protocols, so it stands beside every figure; so do the cosine of
the features (what the bits lost) and PCA with a random rotation (what bits cost nothing).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hashgrain.codes import Codes, Grains
from hashgrain.errors import EvaluationError, TrainingError
from hashgrain.evaluate.labels import Labels, Paths
from hashgrain.hashers import ITQ, LSH, Hasher, PCARotation, as_features
from hashgrain.hashers import most_directions as most_directions

Vectors = NDArray[np.float32]
Hash = Callable[[Vectors], Codes]  # features (n, values) to codes
RIDGE = 1e-3  # of the mean variance of the features
EDGE = 32  # pixels of the picture that a perceptual hash looks at


def check_features(features: Vectors, name: str) -> Vectors:
    try:
        return as_features(features, name)
    except TrainingError as error:
        raise EvaluationError(str(error)) from None


def unit(rows: Vectors) -> Vectors:
    """Rows of length 1, so that their dot products are cosines."""
    return np.asarray(rows / (np.linalg.norm(rows, axis=1, keepdims=True) + 1e-9), np.float32)


def lsh(features: Vectors, bits: int, seed: int) -> Hash:
    return _fitted(LSH(bits, seed), features)


def pca_rotation(features: Vectors, bits: int, seed: int) -> Hash:
    """The strongest hash without learning."""
    return _fitted(PCARotation(bits, seed), features)


def itq(features: Vectors, bits: int, seed: int) -> Hash:
    return _fitted(ITQ(bits, seed), features)


def classifier(features: Vectors, labels: Labels) -> Hash:
    """The class that a linear classifier says, as a code with one bit a class (for label sets, every label)."""
    targets = _targets(labels)
    grains = Grains(label=targets.shape[1])
    mean, offset = features.mean(axis=0, dtype=np.float64), targets.mean(axis=0)
    centered = (features - mean).astype(np.float64)
    gram = centered.T @ centered
    gram[np.diag_indices_from(gram)] += RIDGE * np.trace(gram) / len(gram) or 1.0  # 1: they are all the same
    weights = np.linalg.solve(gram, centered.T @ (targets - offset))

    def encode(rows: Vectors) -> Codes:
        scores = (rows - mean) @ weights + offset
        if isinstance(labels, Paths):
            return Codes.from_bits(np.eye(targets.shape[1], dtype=np.uint8)[scores.argmax(axis=1)], grains)
        return Codes.from_bits(scores >= 0.5, grains)

    return encode


def color_histogram(pixels: NDArray[np.uint8]) -> Vectors:
    """8 x 8 x 8 colors, the roots of their shares: unit vectors (n, 512)."""
    n = len(pixels)
    bins = (pixels >> 5).astype(np.int64) @ np.array([64, 8, 1])
    size = bins.shape[1] * bins.shape[2]
    flat = (bins.reshape(n, size) + np.arange(n)[:, None] * 512).ravel()
    counts = np.bincount(flat, minlength=n * 512).reshape(n, 512)
    return np.asarray(np.sqrt(counts / max(1, size)), np.float32)


def perceptual_hash(pixels: NDArray[np.uint8], bits: int) -> Codes:
    """The lowest frequencies of the gray picture, above or below their median (pHash, without the package)."""
    height, width = _block(bits)
    if not height:
        raise EvaluationError(f"a perceptual hash has 16, 32, 64, 128 ... bits, not {bits}")
    gray = _shrunk(pixels @ np.array([0.299, 0.587, 0.114], np.float32))
    cosines = np.cos(np.pi / EDGE * (np.arange(EDGE) + 0.5) * np.arange(EDGE)[:, None])
    low = (cosines[:height] @ gray @ cosines[:width].T).reshape(len(pixels), bits)
    return Codes.from_bits(low > np.median(low, axis=1, keepdims=True), Grains(look=bits))


def has_perceptual_hash(bits: int) -> bool:
    """Whether so many bits are a block of frequencies."""
    return _block(bits)[0] > 0


def _block(bits: int) -> tuple[int, int]:
    """How many frequencies down and across; 0 where there is no such block."""
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


def _fitted(hasher: Hasher, features: Vectors) -> Hash:
    try:
        found = hasher.fit(features).projection
    except TrainingError as error:
        raise EvaluationError(str(error)) from None
    return _signs(found.mean, found.directions, Grains(look=hasher.bits))


def _signs(mean: Vectors, projection: NDArray[np.float64], grains: Grains) -> Hash:
    return lambda rows: Codes.from_outputs((rows - mean) @ projection, grains)


def _targets(labels: Labels) -> NDArray[np.float64]:
    """(n, classes): 1 where it is the class, or one of the labels."""
    if isinstance(labels, Paths):
        last = labels.ids[:, -1]
        return np.asarray(last[:, None] == np.arange(int(last.max()) + 1), np.float64)  # none where it is not known
    bits = np.unpackbits(labels.words.view(np.uint8), axis=1, bitorder="little")
    used = int(np.flatnonzero(bits.any(axis=0)).max(initial=0)) + 1
    return bits[:, :used].astype(np.float64)
