"""Losses once more, pair by pair and bit by bit, from their formulas: what the fast ones are held against."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]
Oracle = Callable[[Numbers, Numbers], float]
"""(outputs (n, bits), hot (n, classes)) to the loss."""


def labels_of(hot: Numbers, i: int) -> set[int]:
    return {c for c in range(hot.shape[1]) if hot[i, c] == 1}


def alike(hot: Numbers, i: int, j: int) -> bool:
    return bool(labels_of(hot, i) & labels_of(hot, j))


def couples(n: int) -> Iterator[tuple[int, int]]:
    return ((i, j) for i in range(n) for j in range(n) if i != j)


def triples(hot: Numbers) -> Iterator[tuple[int, int, int]]:
    for i, j in couples(len(hot)):
        for k in range(len(hot)):
            if k != i and alike(hot, i, j) and not alike(hot, i, k):
                yield i, j, k


def mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def mean_above_zero(values: list[float]) -> float:
    return mean([value for value in values if value > 0])


def log_likelihood(log_odds: float, yes: bool) -> float:
    probability = 1 / (1 + math.exp(-log_odds))
    return math.log(probability if yes else 1 - probability)


def bit(value: float) -> int:
    return 1 if value >= 0 else -1


def balance(hot: Numbers, i: int, j: int) -> float:
    kinds = [alike(hot, *couple) for couple in couples(len(hot))]
    return len(kinds) / sum(1 for kind in kinds if kind == alike(hot, i, j))


def bits_apart(outputs: Numbers, i: int, j: int) -> float:
    return sum((math.tanh(a) - math.tanh(b)) ** 2 for a, b in zip(outputs[i], outputs[j], strict=True)) / 4


def dot(a: Numbers, b: Numbers) -> float:
    return float(sum(x * y for x, y in zip(a, b, strict=True)))


def cosine(a: Numbers, b: Numbers) -> float:
    return dot(a, b) / math.sqrt(dot(a, a) * dot(b, b))


def to_nearest_bit(outputs: Numbers) -> float:
    return mean([(value - bit(value)) ** 2 for value in outputs.flat])


def contrastive(outputs: Numbers, hot: Numbers, margin: float) -> float:
    together, apart = [], []
    for i, j in couples(len(hot)):
        distance = bits_apart(outputs, i, j)
        if alike(hot, i, j):
            together.append(distance)
        else:
            apart.append(max(0.0, margin - distance))
    return mean_above_zero(together) + mean_above_zero(apart)


def triplet(outputs: Numbers, hot: Numbers, margin: float) -> float:
    return mean_above_zero([margin + bits_apart(outputs, i, j) - bits_apart(outputs, i, k) for i, j, k in triples(hot)])


def n_pair(outputs: Numbers, hot: Numbers, norm: float) -> float:
    chosen: list[tuple[int, int]] = []
    for i in range(len(hot)):
        for j in range(len(hot)):
            strange = all(not alike(hot, mine, theirs) for mine in (i, j) for pair in chosen for theirs in pair)
            if i != j and alike(hot, i, j) and strange:
                chosen.append((i, j))
                break
    losses = []
    for i, j in chosen:
        everyone = sum(math.exp(dot(outputs[i], outputs[other]) / 2) for _, other in chosen)
        losses.append(-math.log(math.exp(dot(outputs[i], outputs[j]) / 2) / everyone))
    return mean(losses) + norm * mean([dot(row, row) for row in outputs])


def code_regression(outputs: Numbers, hot: Numbers, codes: Numbers) -> float:
    errors = []
    for i in range(len(hot)):
        labels = labels_of(hot, i)
        for k in range(outputs.shape[1]):
            if labels:
                target = mean([codes[c, k] for c in labels])
                errors.append((1 / (1 + math.exp(-outputs[i, k])) - target) ** 2)
    return mean(errors)


def dsh(outputs: Numbers, hot: Numbers, margin: float, quantization: float) -> float:
    contrast = []
    for i, j in couples(len(hot)):
        distance = float(sum((outputs[i, k] - outputs[j, k]) ** 2 for k in range(outputs.shape[1])))
        contrast.append(distance / 2 if alike(hot, i, j) else max(0.0, margin - distance) / 2)
    off = [sum(abs(abs(value) - 1) for value in row) for row in outputs]
    return mean(contrast) + quantization * (mean(off) + mean(off))


def likelihood(outputs: Numbers, hot: Numbers) -> float:
    return mean([-log_likelihood(dot(outputs[i], outputs[j]) / 2, alike(hot, i, j)) for i, j in couples(len(hot))])


def dpsh(outputs: Numbers, hot: Numbers, quantization: float) -> float:
    return likelihood(outputs, hot) + quantization * to_nearest_bit(outputs)


def dhn(outputs: Numbers, hot: Numbers, quantization: float) -> float:
    return likelihood(outputs, hot) + quantization * mean([math.log(math.cosh(abs(u) - 1)) for u in outputs.flat])


def hashnet(outputs: Numbers, hot: Numbers, odds: float, sharpness: float) -> float:
    codes = np.tanh(sharpness * outputs)
    return mean(
        [
            -balance(hot, i, j) * log_likelihood(odds / codes.shape[1] * dot(codes[i], codes[j]), alike(hot, i, j))
            for i, j in couples(len(hot))
        ]
    )


def dch(outputs: Numbers, hot: Numbers, radius: float, quantization: float) -> float:
    bits = outputs.shape[1]
    pairwise = []
    for i, j in couples(len(hot)):
        probability = radius / (radius + bits / 2 * (1 - cosine(outputs[i], outputs[j])))
        pairwise.append(-balance(hot, i, j) * math.log(probability if alike(hot, i, j) else 1 - probability))
    to_bits = [bits / 2 * (1 - cosine(np.abs(row), np.ones(bits))) for row in outputs]
    return mean(pairwise) + quantization * mean([math.log(1 + distance / radius) for distance in to_bits])


def dtsh(outputs: Numbers, hot: Numbers, margin: float, quantization: float) -> float:
    surprise = [
        -log_likelihood(dot(outputs[i], outputs[j]) / 2 - dot(outputs[i], outputs[k]) / 2 - margin, True)
        for i, j, k in triples(hot)
    ]
    return mean(surprise) + quantization * to_nearest_bit(outputs)


def idhn(outputs: Numbers, hot: Numbers, odds: float, partial: float, quantization: float) -> float:
    bits = outputs.shape[1]
    codes = outputs / (1 + np.abs(outputs))
    pairwise = []
    for i, j in couples(len(hot)):
        mine, theirs, product = labels_of(hot, i), labels_of(hot, j), dot(codes[i], codes[j])
        if not mine & theirs:
            pairwise.append(-log_likelihood(odds / bits * product, False))
        elif mine == theirs:
            pairwise.append(-log_likelihood(odds / bits * product, True))
        else:
            share = len(mine & theirs) / math.sqrt(len(mine) * len(theirs))
            pairwise.append(partial * bits * ((product + bits) / (2 * bits) - share) ** 2)
    return mean(pairwise) + quantization * mean([abs(abs(code) - 1) for code in codes.flat])


def refuse_what_is_no_number(loss: Any, hot: Any, outputs: Any) -> None:
    """The loss and its gradient are numbers for outputs (torch tensors) of any size, zero too."""
    for scale in (0.0, 1e-20, 1.0, 1e4):
        scaled = (scale * outputs).requires_grad_()
        value = loss(scaled, hot)
        assert value.ndim == 0
        value.backward()
        assert value.isfinite()
        assert scaled.grad is not None
        assert scaled.grad.isfinite().all()
