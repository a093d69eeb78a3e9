"""A library as a map: codes laid out in the plane so that what is near by code is near on the map.

The nearest neighbors of every code are exact. Places begin at the first two principal components of the bits; then
neighbors attract each other, and random others push away, as in UMAP (McInnes, Healy and Melville, 2018), all codes at
once in each step. Equal codes are laid out once. The same codes and seed give the same map.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hashgrain.codes import Codes, Words, unpack
from hashgrain.hamming import nearest, rows_of

Places = NDArray[np.float32]
Ints = NDArray[np.int64]
Told = Callable[[float], None]

NEIGHBORS = 15
STEPS = 300
MOST = 100_000  # codes that are laid out; others are placed at the mean of their nearest among these
PLACED_BY = 5
SPREAD = 10.0  # of the first places, either way
RATE = 0.3  # of a step: with 0.5, two neighbors that move together would meet
PUSHES = 5  # random others that push each code in a step
PUSH = 2.5  # how much their mean counts beside the mean of the neighbors, as in UMAP with 5 negative samples
FARTHEST = 4.0  # that one push moves a code
SAME_PLACE = 0.004  # of the width of the map: around which equal codes lie
AT_ONCE = 2_048
COUNTED = 20_000  # codes from which the principal components are computed


@dataclass(frozen=True)
class Edges:
    """Pairs of neighbors, each once, and how much each attracts."""

    first: Ints
    second: Ints
    weights: NDArray[np.float32]


def map_layout(
    codes: Codes,
    *,
    seed: int = 0,
    steps: int = STEPS,
    most: int = MOST,
    threads: int | None = None,
    progress: Told | None = None,
) -> Places:
    """(n, 2): a place for each code, from -1 to 1. `progress` hears the share that is done."""
    if not len(codes):
        return np.empty((0, 2), np.float32)
    told = progress or _ignore
    draw = np.random.default_rng(seed)
    unique, number = np.unique(codes.words, axis=0, return_inverse=True)
    number = number.reshape(-1)
    laid_out = np.sort(draw.choice(len(unique), most, replace=False)) if len(unique) > most else np.arange(len(unique))
    words, bits = np.ascontiguousarray(unique[laid_out]), codes.grains.bits
    places = principal_places(words, bits)
    if len(words) > 3:
        edges = neighbor_edges(words, bits, threads, lambda share: told(0.3 * share))
        places = _settled(places, edges, draw, steps, lambda share: told(0.3 + 0.5 * share))
    whole = np.empty((len(unique), 2), np.float32)
    whole[laid_out] = places
    others = np.setdiff1d(np.arange(len(unique)), laid_out, assume_unique=True)
    for low in range(0, len(others), AT_ONCE):
        rows = others[low : low + AT_ONCE]
        answers = nearest(unique[rows], [rows_of(words)], PLACED_BY, bits=bits, threads=threads)
        whole[rows] = [places[each.ids].mean(axis=0) for each in answers]
        told(0.8 + 0.2 * low / len(others))
    return _beside_each_other(_scaled(whole)[number], number)


def principal_places(words: Words, bits: int) -> Places:
    """Where codes lie along the first two principal components of their bits."""
    sample = _signs(words[:: max(1, len(words) // COUNTED)], bits)
    center = sample.mean(axis=0)
    covariance = (sample - center).T @ (sample - center)
    _, vectors = np.linalg.eigh(covariance.astype(np.float64))
    axes = np.zeros((bits, 2))
    axes[:, : min(2, bits)] = vectors[:, ::-1][:, :2]
    axes *= np.where(axes[np.abs(axes).argmax(axis=0), [0, 1]] < 0, -1, 1)  # one of two signs, always the same
    blocks = [(_signs(words[low : low + AT_ONCE], bits) - center) @ axes for low in range(0, len(words), AT_ONCE)]
    places = np.concatenate(blocks) if blocks else np.empty((0, 2))
    spread: Places = np.float32(SPREAD) * _scaled(places.astype(np.float32))
    return spread


def neighbor_edges(words: Words, bits: int, threads: int | None, progress: Told) -> Edges:
    """The nearest neighbors of every code, exactly. How much they attract falls with the distance, for each code so
    that its neighbors together count as much as those of any other."""
    n, k = len(words), min(NEIGHBORS, len(words) - 1)
    near, apart = np.empty((n, k), np.int64), np.empty((n, k), np.float32)
    rows = rows_of(words)
    for low in range(0, n, AT_ONCE):
        block = words[low : low + AT_ONCE]
        for row, answer in enumerate(nearest(block, [rows], k + 1, bits=bits, threads=threads), low):
            other = answer.ids != row
            near[row], apart[row] = answer.ids[other][:k], answer.distances[other][:k]
        progress((low + len(block)) / n)
    weights = _attraction(apart)
    ends = np.sort(np.stack([np.repeat(np.arange(n), k), near.reshape(-1)], axis=1), axis=1)
    pairs, place = np.unique(ends[:, 0] * n + ends[:, 1], return_inverse=True)
    flat = weights.reshape(-1).astype(np.float64)
    missing = np.exp(np.bincount(place, np.log1p(-np.minimum(flat, 1 - 1e-6))))  # 1 - (a + b - a b) = (1 - a)(1 - b)
    return Edges(pairs // n, pairs % n, (1 - missing).astype(np.float32))


def _attraction(apart: Places) -> Places:
    """exp(-(d - nearest) / width), with the width of each row at which its sum is the logarithm of its length."""
    beyond = apart - apart.min(axis=1, keepdims=True)
    low, high = np.full(len(apart), 1e-3), np.full(len(apart), 1e3)
    wanted = np.log2(apart.shape[1] + 1)
    for _ in range(40):
        middle = np.sqrt(low * high)
        less = np.exp(-beyond / middle[:, None]).sum(axis=1) < wanted
        low, high = np.where(less, middle, low), np.where(less, high, middle)
    attraction: Places = np.exp(-beyond / np.sqrt(low * high)[:, None]).astype(np.float32)
    return attraction


def _settled(places: Places, edges: Edges, draw: np.random.Generator, steps: int, progress: Told) -> Places:
    """The places after so many steps, each smaller than the one before."""
    n = len(places)
    x, y = places[:, 0].copy(), places[:, 1].copy()
    first, second, weights = edges.first, edges.second, edges.weights
    sums = np.bincount(first, weights, n) + np.bincount(second, weights, n)
    share = (1 / np.maximum(sums, 1e-6)).astype(np.float32)
    for step in range(steps):
        rate = np.float32(RATE * (1 - step / steps))
        across, up = x[second] - x[first], y[second] - y[first]
        pull = 2 * weights / (1 + across * across + up * up)
        others = draw.integers(0, n, (PUSHES, n))
        pull_x, pull_y = (
            share * (np.bincount(first, force, n) - np.bincount(second, force, n)).astype(np.float32)
            for force in (pull * across, pull * up)
        )
        push_x, push_y = _pushed(x, y, others)
        x = x + rate * (pull_x + PUSH * push_x)
        y = y + rate * (pull_y + PUSH * push_y)
        progress((step + 1) / steps)
    return np.stack([x, y], axis=1)


def _pushed(x: NDArray[np.float32], y: NDArray[np.float32], others: Ints) -> tuple[Places, Places]:
    """The mean push of random others on each code."""
    across, up = x - x[others], y - y[others]
    apart = across * across + up * up
    push = 2 / ((np.float32(0.001) + apart) * (1 + apart))
    clipped = (np.clip(push * each, -FARTHEST, FARTHEST).mean(axis=0) for each in (across, up))
    return next(clipped), next(clipped)


def _signs(words: Words, bits: int) -> Places:
    signs: Places = 2 * unpack(words, bits).astype(np.float32) - 1
    return signs


def _scaled(places: Places) -> Places:
    """Centered, and from -1 to 1 along the wider axis."""
    if not len(places):
        return places
    low, high = places.min(axis=0), places.max(axis=0)
    half = max(float((high - low).max()) / 2, 1e-12)
    scaled: Places = ((places - (low + high) / 2) / half).astype(np.float32)
    return scaled


def _beside_each_other(places: Places, number: Ints) -> Places:
    """Equal codes lie on a spiral around their place, so that each can be seen."""
    order = np.argsort(number, kind="stable")
    starts = np.searchsorted(number[order], number[order])
    rank = np.empty(len(number), np.int64)
    rank[order] = np.arange(len(number)) - starts
    radius = SAME_PLACE * (1 - 1 / np.sqrt(1 + rank))
    angle = rank * np.pi * (3 - np.sqrt(5))  # the golden angle, at which no two lie in one direction
    spiral = radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    beside: Places = np.clip(places + spiral, -1, 1).astype(np.float32)
    return beside


def _ignore(share: float) -> None:
    return None
