"""The head of `photo`: its inputs, its teachers, and synthetic features of classes without pictures."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hashgrain.hashers import Features
from hashgrain.learn.photo.tree import lin_similarity, shipped

WIDTH = 256  # of each embedding of the classes


def unit(rows: NDArray[np.floating]) -> Features:
    scaled: Features = (rows / (np.linalg.norm(rows, axis=1, keepdims=True) + 1e-9)).astype(np.float32)
    return scaled


@dataclass(frozen=True)
class Classifier:
    """The pretrained network's own last layer, and embeddings of its 1,000 classes."""

    weight: Features  # (1000, width of the features)
    bias: Features
    kinds: Features  # (1000, 256): an embedding of the square of Lin's similarity
    things: Features  # of its fourth power: closer relatives only
    looks: Features  # of its eighth power
    directions: Features  # (1000, 256): the main directions of the classifier itself

    @classmethod
    def of(cls, weight: Features, bias: Features) -> Classifier:
        similar = lin_similarity(shipped())
        directions = np.linalg.svd(weight - weight.mean(axis=0), full_matrices=False)[0][:, :WIDTH]
        kinds, things, looks = (class_embedding(similar**power) for power in (2, 4, 8))
        return cls(weight, bias, kinds, things, looks, directions.astype(np.float32))

    def logits(self, features: Features) -> Features:
        scores: Features = features @ self.weight.T + self.bias
        centered: Features = scores - scores.mean(axis=1, keepdims=True)
        return centered

    def probabilities(self, features: Features, temperature: float) -> Features:
        logits = self.logits(features) / temperature
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        shares: Features = powers / powers.sum(axis=1, keepdims=True)
        return shares


def class_embedding(similar: NDArray[np.float64]) -> Features:
    """Kernel PCA: class vectors whose products are the centered similarities."""
    count = len(similar)
    centered = np.eye(count) - 1 / count
    values, vectors = np.linalg.eigh(centered @ similar @ centered)
    order = np.argsort(-values)[:WIDTH]
    embedded: Features = (vectors[:, order] * np.sqrt(np.maximum(values[order], 0))).astype(np.float32)
    return embedded


def mean_root(features: Features) -> Features:
    mean: Features = np.sqrt(np.maximum(features, 0)).mean(axis=0)
    return mean


def root_of(features: Features, mean: Features) -> Features:
    """Square roots of the features, centered, of length 1: large features count less."""
    return unit(np.sqrt(np.maximum(features, 0)) - mean)


def inputs_of(features: Features, mean: Features, c: Classifier) -> Features:
    """The inputs of the linear head: the features and three embeddings of the classifier's scores."""
    return np.concatenate(
        [
            root_of(features, mean),
            unit(c.probabilities(features, 1) @ c.kinds),
            unit(c.probabilities(features, 2) @ c.looks),
            unit(c.logits(features) @ c.directions),
        ],
        axis=1,
    )


def teachers_of(features: Features, mean: Features, c: Classifier) -> list[Features]:
    """The teachers of `kind` and `thing`: vectors whose cosine the codes learn to rank by. The shares were chosen by
    how well these vectors rank small held-out pictures and photographs of the choosing halves."""
    root, likely, less_sure = root_of(features, mean), c.probabilities(features, 1), c.probabilities(features, 1.5)
    kind = together((root, 0.42), (unit(less_sure @ c.kinds), 0.3), (unit(likely @ c.kinds), 0.28))
    thing = together((root, 0.45), (unit(c.logits(features)), 0.3), (unit(likely @ c.things), 0.25))
    return [kind, thing]


def together(*parts: tuple[Features, float]) -> Features:
    """Vectors whose cosine is the mean of the parts' cosines, weighted by these shares."""
    return np.concatenate([rows * np.float32(share**0.5) for rows, share in parts], axis=1)


def reflected(features: Features, classes: NDArray[np.int64], c: Classifier) -> Features:
    """Synthetic features: the logits of a picture's top class and of the given class are swapped."""
    logits = features @ c.weight.T + c.bias
    first, rows = logits.argmax(axis=1), np.arange(len(features))
    direction = c.weight[classes] - c.weight[first]
    length = np.square(direction).sum(axis=1)
    share = np.where(length > 1e-6, 2 * (logits[rows, first] - logits[rows, classes]) / np.maximum(length, 1e-6), 0)
    moved: Features = (features + share[:, None] * direction).astype(np.float32)
    return moved
