"""Class centers: codes of -1 and +1, one a class, as far apart as we can place them, for any width and nesting.

Where the rows of a Hadamard matrix and their negatives suffice, they are the centers: any two differ in half of the
bits or in all. (Two to four classes have room for more than half, so they do not use them.)
Otherwise the centers are words of a linear code. Each of its generators is the farthest of many random words from the
code so far. Greedy choice among 64 random balanced words places 1,000 centers of 64 bits 20 bits apart; the linear
code places them 24 apart. 100,000 centers take seconds, since the distances of a linear code are the weights of its
words. Each bit is on in about half of the centers; a center need not have half of its bits on.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hashgrain.codes import Words, pack, unpack, words_for
from hashgrain.errors import TrainingError

COMPARED = 1 << 25  # words compared to choose one generator
AT_ONCE = 1 << 20  # distances held in memory: they should stay in the cache
MOST_CANDIDATES = 1 << 12
ATTEMPTS = 6  # codes from which the best is taken
MOST_DIMENSIONS = 20  # of a code that separates cousins: a million words


@dataclass(frozen=True)
class Centers:
    """The centers of classes, and how far apart they are."""

    signs: NDArray[np.int8]  # (classes, bits) of -1 and +1
    minimum_distance: int  # bits in which the nearest two differ; all bits where there is one class
    how: str

    def tensor(self) -> Tensor:
        """(classes, bits) as losses take them."""
        return torch.from_numpy(self.signs).float()


def class_centers(classes: int, bits: int, seed: int) -> Centers:
    """Distinct centers of `classes` classes at any width of bits."""
    if classes < 1 or bits < 1:
        raise TrainingError(f"{classes} classes in {bits} bits: centers take at least one of each")
    if classes > 2**bits:
        raise TrainingError(
            f"{classes} classes are more than the {2**bits} centers that {bits} bits have;"
            f" give the grain at least {(classes - 1).bit_length()} bits"
        )
    dice = np.random.default_rng(seed)
    if 4 < classes <= 2 * bits and bits & (bits - 1) == 0:
        signs, how = _hadamard_rows(classes, bits, dice), "rows of a Hadamard matrix"
    else:
        signs, how = _linear_words(classes, bits, dice), "words of a linear code"
    return Centers(signs, minimum_distance(signs), how)


def nested_centers(classes: int, parents: Sequence[NDArray[np.int64]], bits: Sequence[int], seed: int) -> list[Centers]:
    """The centers of each grain, coarse to fine: a class's begins with its parent's.

    `classes` is how many the coarsest grain has; parents[g][c] is the class of grain g that class c of the next grain
    belongs to; `bits` is the width of each grain. The bits a grain adds separate siblings first, then cousins.
    """
    if len(bits) != len(parents) + 1 or any(wide <= narrow for narrow, wide in pairwise(bits)):
        raise TrainingError(f"grains of {list(bits)} bits and {len(parents)} lists of parents: each grain adds bits")
    grains = [class_centers(classes, bits[0], seed)]
    dice = np.random.default_rng((seed, 1))
    for parent, width in zip(parents, bits[1:], strict=True):
        coarse = grains[-1].signs
        if not len(parent) or parent.min() < 0 or parent.max() >= len(coarse):
            raise TrainingError(f"a class's parent is not one of the {len(coarse)} classes of the coarser grain")
        added = _told_apart(parent, len(coarse), width - coarse.shape[1], dice)
        signs = np.concatenate([coarse[parent], added], axis=1)
        grains.append(Centers(signs, minimum_distance(signs), "parents' centers and words of a linear code"))
    return grains


def minimum_distance(signs: NDArray[np.int8]) -> int:
    """The Hamming distance of the nearest two, exactly: all pairs, a block of rows at a time."""
    words, start = pack(signs > 0), 0
    nearest: int = signs.shape[1]
    while start < len(words) - 1:
        rows = words[start : start + max(1, AT_ONCE // (len(words) - start))]
        distances = _distances(rows, words[start:])
        distances[np.arange(len(rows)), np.arange(len(rows))] = signs.shape[1]
        nearest = min(nearest, int(distances.min()))
        start += len(rows)
    return nearest


def gilbert_varshamov(classes: int, bits: int) -> int:
    """The greatest distance at which a code of `classes` words certainly exists (Gilbert, 1952; Varshamov, 1957).

    The largest d for which (classes - 1) * sum_{i < d} binomial(bits, i) < 2^bits.
    """
    ball, distance, space = 1, 1, 1 << bits
    while distance < bits and (classes - 1) * (ball + math.comb(bits, distance)) < space:
        ball += math.comb(bits, distance)
        distance += 1
    return distance


def centers_for(centers: Tensor | None, classes: int, bits: int, seed: int) -> Tensor:
    """The centers a loss was given, checked; or our own."""
    if centers is None:
        return class_centers(classes, bits, seed).tensor()
    if centers.shape != (classes, bits) or not bool((centers.abs() == 1).all()):
        raise TrainingError(
            f"centers of shape {tuple(centers.shape)} do not fit; they are -1 and +1, {classes} classes x {bits} bits"
        )
    return centers.float()


def tie_breaker(bits: int, seed: int) -> Tensor:
    """One fixed random vector of -1 and +1. (With 0 and 1, as in CSQ's own code, the target of a tie is half a bit.)"""
    return torch.from_numpy(np.random.default_rng((seed, 2)).choice([-1.0, 1.0], bits)).float()


def shared_centers(hot: Tensor, centers: Tensor, ties: Tensor) -> Tensor:
    """(n, bits) the center of all labels of each picture: the majority bit by bit, ties by `ties` (CSQ, Yuan, 2020)."""
    votes = hot @ centers.to(hot.dtype)
    return torch.where(votes == 0, ties.to(hot.dtype), votes.sign())


def _hadamard_rows(classes: int, bits: int, dice: np.random.Generator) -> NDArray[np.int8]:
    """Rows of H, each or its negative; both where there are more classes than rows."""
    places = np.arange(bits)
    matrix = 1 - 2 * (np.bitwise_count(places[:, None] & places) % 2).astype(np.int8)

    def draw() -> NDArray[np.int8]:
        first = int(classes < bits)  # all bits of row 0 are the same: skip it if there are rows enough
        chosen = first + dice.permutation(bits - first)[:classes]
        rows = matrix[chosen] * dice.choice(np.array([-1, 1], np.int8), (len(chosen), 1))
        both = np.concatenate([rows, -rows[: classes - len(rows)]])
        return both[dice.permutation(classes)]

    return _evenest(draw() for _ in range(_draws(classes, bits)))


def _linear_words(classes: int, bits: int, dice: np.random.Generator) -> NDArray[np.int8]:
    dimension = (classes - 1).bit_length()
    code = _linear_code(dimension, bits, dice, dimension)
    draws = (_signs(code[dice.permutation(len(code))[:classes]], bits) for _ in range(_draws(classes, bits)))
    turned = dice.choice(np.array([-1, 1], np.int8), bits)  # keeps distances; the zero word is no center of its own
    return np.asarray(_evenest(draws) * turned, np.int8)


def _told_apart(parent: NDArray[np.int64], n_parents: int, width: int, dice: np.random.Generator) -> NDArray[np.int8]:
    """(classes, width) bits: siblings differ by the inner code, children of different parents by its cosets."""
    sizes = np.bincount(parent, minlength=n_parents)
    inner = int(sizes.max() - 1).bit_length()
    if inner > width:
        raise TrainingError(
            f"{sizes.max()} classes share one parent, and only {width} bits are there to tell them apart;"
            f" make the finer grain at least {inner} bits wider than the coarser"
        )
    dimension = min(width, inner + (n_parents - 1).bit_length(), max(inner, MOST_DIMENSIONS))
    code = _linear_code(dimension, width, dice, inner)
    order = np.argsort(parent, kind="stable")
    rank = np.empty(len(parent), np.int64)
    rank[order] = np.arange(len(parent)) - (np.cumsum(sizes) - sizes)[parent[order]]

    def draw() -> NDArray[np.int8]:
        coset = (dice.permutation(n_parents) % 2 ** (dimension - inner)) << inner
        start = dice.integers(0, 2**inner, n_parents)
        return _signs(code[(rank ^ start[parent]) | coset[parent]], width)

    turned = dice.choice(np.array([-1, 1], np.int8), width)
    draws = (draw() for _ in range(_draws(len(parent), width)))
    return np.asarray(_evenest(draws) * turned, np.int8)


def _linear_code(dimension: int, bits: int, dice: np.random.Generator, inner: int) -> Words:
    """All 2^dimension words, the best of some attempts; the first 2^inner of them are a code with larger distance."""

    def worth(code: Words) -> tuple[int, int]:
        weights = np.bitwise_count(code).sum(axis=1, dtype=np.int64)
        return int(weights[1 : 2**inner].min(initial=bits)), int(weights[1:].min(initial=bits))

    # Words of even weight are an even distance apart: better where the best distance is even, worse where it is odd.
    codes = (_words_of(_generators(dimension, bits, dice, inner, even=attempt % 2 == 0)) for attempt in range(ATTEMPTS))
    return max(codes, key=worth)


def _generators(dimension: int, bits: int, dice: np.random.Generator, inner: int, *, even: bool) -> NDArray[np.uint8]:
    """(dimension, bits) each the farthest of many random words from all sums of those before it."""
    chosen = np.empty((0, bits), np.uint8)
    code = _words_of(chosen)
    for size in range(1, dimension + 1):
        n = min(MOST_CANDIDATES, max(16, COMPARED // code.size))
        candidates = dice.integers(0, 2, (n, bits), np.uint8)
        if even:
            candidates[:, -1] = candidates[:, :-1].sum(axis=1) % 2
        apart = _apart(pack(candidates), code)
        if not apart.any():  # nearly all words are in the code; one of the single bits is not
            candidates = np.eye(bits, dtype=np.uint8)
            apart = _apart(pack(candidates), code)
        chosen = np.concatenate([chosen, candidates[[apart.argmax()]]])
        if size in (inner, dimension):  # a bit that no generator has on is wasted; on in any of them, it adds distance
            unused = np.flatnonzero(~chosen.any(axis=0))
            chosen[dice.integers(0, size, len(unused)), unused] = 1
        code = _words_of(chosen)
    return chosen


def _words_of(generators: NDArray[np.uint8]) -> Words:
    """All sums of the generators: word i is the sum of those at the bits of i."""
    code = np.zeros((1, words_for(generators.shape[1])), np.uint64)
    for generator in generators:
        code = np.concatenate([code, code ^ pack(generator)])
    return code


def _apart(candidates: Words, code: Words) -> NDArray[np.int64]:
    """The distance of each candidate from the nearest word of the code."""
    step = max(1, AT_ONCE // len(candidates))
    blocks = (_distances(candidates, code[start : start + step]) for start in range(0, len(code), step))
    return np.asarray(np.min([block.min(axis=1) for block in blocks], axis=0), np.int64)


def _distances(some: Words, others: Words) -> NDArray[np.uint16]:
    distances = np.zeros((len(some), len(others)), np.uint16)
    for word in range(some.shape[1]):
        distances += np.bitwise_count(some[:, word, None] ^ others[None, :, word])
    return distances


def _signs(words: Words, bits: int) -> NDArray[np.int8]:
    return np.asarray(2 * unpack(words, bits).astype(np.int8) - 1, np.int8)


def _evenest(draws: Iterable[NDArray[np.int8]]) -> NDArray[np.int8]:
    """The draw whose bits are most nearly on in half of the classes."""
    return min(draws, key=lambda signs: int(np.abs(signs.sum(axis=0, dtype=np.int64)).max()))


def _draws(classes: int, bits: int) -> int:
    """Many where few classes make unevenness likely and draws cheap."""
    return max(1, min(64, (1 << 22) // (classes * bits)))
