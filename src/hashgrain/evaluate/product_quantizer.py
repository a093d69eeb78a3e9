"""A product quantizer: a reference with as many bytes per picture, whose distances are looked up in tables."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hashgrain.errors import EvaluationError
from hashgrain.hashers import Features

WORDS = 256  # of each part: a byte
ROUNDS = 15


@dataclass(frozen=True, eq=False)
class ProductQuantizer:
    """Replaces each part of a vector by the nearest of 256 words (Jegou et al., 2011): bits / 8 bytes per vector."""

    words: list[Features]  # (256, width of the part) each

    @classmethod
    def fit(cls, features: Features, bits: int, seed: int) -> ProductQuantizer:
        """Find the words of each part by k-means on the training vectors."""
        parts = bits // 8
        if bits % 8 or not 1 <= parts <= features.shape[1]:
            raise EvaluationError(f"a product quantizer of {bits} bits: it takes a byte for each part, 8, 16, 24, ...")
        dice = np.random.default_rng(seed)
        return cls([_means(part, dice) for part in np.array_split(features, parts, axis=1)])

    def encode(self, features: Features) -> NDArray[np.uint8]:
        """(n, bytes): the nearest word of each part."""
        parts = np.array_split(features, len(self.words), axis=1)
        return np.stack([_nearest(part, words) for part, words in zip(parts, self.words, strict=True)], axis=1)

    def decode(self, codes: NDArray[np.uint8]) -> Features:
        """(n, width): the vectors that the codes represent."""
        return np.concatenate([words[codes[:, i]] for i, words in enumerate(self.words)], axis=1)

    def to_compare(self, queries: Features, database: Features) -> tuple[Features, Features]:
        """Vectors whose products rank the decoded database by its distance from real-valued queries, the nearest
        first: 2 q . x - |x|^2."""
        decoded = self.decode(self.encode(database))
        lengths = np.square(decoded).sum(axis=1, keepdims=True)
        ones = np.full((len(queries), 1), -1, np.float32)
        return np.concatenate([2 * queries, ones], axis=1), np.concatenate([decoded, lengths], axis=1)


def _means(part: Features, dice: np.random.Generator) -> Features:
    """k-means from random vectors; an empty cluster restarts at a random vector."""
    words: Features = part[dice.choice(len(part), WORDS, replace=len(part) < WORDS)].copy()
    for _ in range(ROUNDS):
        nearest = _nearest(part, words)
        order = np.argsort(nearest, kind="stable")
        counts = np.bincount(nearest, minlength=WORDS)
        used = counts > 0
        starts = (np.cumsum(counts) - counts)[used]
        words[used] = np.add.reduceat(part[order], starts, axis=0) / counts[used, None]
        words[~used] = part[dice.integers(0, len(part), int((~used).sum()))]
    return words


def _nearest(part: Features, words: Features) -> NDArray[np.uint8]:
    return np.asarray((2 * part @ words.T - np.square(words).sum(axis=1)).argmax(axis=1), np.uint8)
