"""Questions, checked once: the kernels and their twin rely on these checks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hashgrain.codes import Words, prefix_mask
from hashgrain.errors import CodesError, QueryError
from hashgrain.hamming.rows import Rows

Weights = Sequence[tuple[int, float]]  # (end, weight): the weight of each bit up to the bit `end`
FINEST = 1 << 16  # weights that are not multiples of a small unit are rounded to so many parts of the largest
HEAVIEST = 1e9
MAX_WORDS = 64
Weighted = tuple[int, int, int]  # word, mask, weight


@dataclass(frozen=True)
class Question:
    """k = 0 asks for all rows within the radius; `counting` also for their number, even beyond k."""

    queries: Words
    bits: int
    k: int
    radius: int
    counting: bool = False
    weighted: tuple[Weighted, ...] | None = None
    scale: float = 1.0  # the value of an integer distance of 1, if weights are not integers

    @property
    def n_words(self) -> int:
        return int(self.queries.shape[1])


def ask_nearest(queries: Words, parts: Sequence[Rows], k: int, bits: int, weights: Weights | None) -> Question:
    _check(queries, parts, bits)
    check_k(k)
    rows = sum(len(part.ids) for part in parts)
    k = min(int(k), max(1, rows))
    queries = np.ascontiguousarray(queries)
    if weights is None:
        return Question(queries, int(bits), k, int(bits))
    weighted, scale = _weighted(weights, bits)
    farthest = sum(int(mask).bit_count() * weight for _, mask, weight in weighted)
    return Question(queries, int(bits), k, farthest, False, weighted, scale)


def ask_within(queries: Words, parts: Sequence[Rows], radius: int, bits: int, cap: int | None) -> Question:
    _check(queries, parts, bits)
    if isinstance(radius, bool) or not isinstance(radius, (int, np.integer)) or not 0 <= radius <= bits:
        raise QueryError(f"a distance of {radius!r} bits makes no sense here; it is a whole number from 0 to {bits}")
    check_cap(cap)
    rows = sum(len(part.ids) for part in parts)
    most = 0 if cap is None or cap >= rows else int(cap)
    return Question(np.ascontiguousarray(queries), int(bits), most, int(radius), counting=True)


def check_k(k: int) -> None:
    if isinstance(k, bool) or not isinstance(k, (int, np.integer)) or k < 1:
        raise QueryError(f"k is {k!r}; ask for 1 neighbour or more")


def check_cap(cap: int | None) -> None:
    if cap is not None and (isinstance(cap, bool) or not isinstance(cap, (int, np.integer)) or cap < 1):
        raise QueryError(f"a cap of {cap!r} makes no sense; it is 1 or more")


def _check(queries: Words, parts: Sequence[Rows], bits: int) -> None:
    if queries.ndim != 2 or queries.dtype != np.uint64:
        raise CodesError(f"queries are uint64 words (n, n_words), not {queries.dtype} {queries.shape}")
    n_words = queries.shape[1]
    if not 1 <= n_words <= MAX_WORDS:
        raise CodesError(f"queries of {n_words} words; codes have 1 to {MAX_WORDS}")
    for part in parts:
        if len(part.planes) != n_words:
            raise CodesError(f"queries of {n_words} words do not fit codes of {len(part.planes)} words")
    if isinstance(bits, bool) or not isinstance(bits, (int, np.integer)) or not 1 <= bits <= 64 * n_words:
        raise CodesError(f"{bits!r} bits cannot be compared in codes of {64 * n_words} bits")


def _weighted(weights: Weights, bits: int) -> tuple[tuple[Weighted, ...], float]:
    """Weights as integers on masks of words, and the value of one unit."""
    units, scale = weight_units(weights, bits)
    masked = []
    start = np.zeros((bits + 63) // 64, np.uint64)
    for (end, _), unit in zip(weights, units, strict=True):
        mask = prefix_mask(end, len(start))
        masked += [(w, int(m), unit) for w, m in enumerate(mask & ~start) if m]
        start = mask
    return tuple(masked), scale


def weight_units(weights: Weights, bits: int) -> tuple[list[int], float]:
    """Weights as integers, so that distances are the same on every machine; and the value of one unit."""
    try:
        ends, values = [end for end, _ in weights], [float(value) for _, value in weights]
    except (TypeError, ValueError):
        raise QueryError(f"weights are {weights!r}; they are pairs of a bit and a number") from None
    if not ends or ends != sorted(set(ends)) or ends[0] < 1 or ends[-1] != bits:
        raise QueryError(f"weights cover bits up to {ends}; they must grow and end at {bits}")
    if not all(0 <= value <= HEAVIEST for value in values) or max(values) < 1 / HEAVIEST:
        raise QueryError(f"weights are {values}; they are from 0 to {HEAVIEST:g}, and not all 0")
    parts = max(value.as_integer_ratio()[1] for value in values)  # powers of two: the largest is a multiple of all
    fits = parts <= FINEST and parts * max(values) <= FINEST
    scale = 1 / parts if fits else max(values) / FINEST
    return [round(value / scale) for value in values], scale
