"""Checks the question, asks the compiled scan or its numpy twin, and gives the neighbours in order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hashgrain.codes import Words
from hashgrain.errors import CodesError, QueryError
from hashgrain.hamming import plain

try:
    from hashgrain.hamming import _scan as _compiled
except ImportError:  # no compiler where it was installed: slower, and otherwise the same
    _compiled = None  # type: ignore[assignment, unused-ignore]


@dataclass(frozen=True)
class Neighbours:
    """Sorted by distance at the grain, then over the whole code, then id."""

    ids: NDArray[np.int64]
    distances: NDArray[np.int32]
    full: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.ids)


def compiled() -> bool:
    """Whether the compiled scan is in use."""
    return _compiled is not None


def nearest(
    query: Words,
    words: Words,
    ids: NDArray[np.int64],
    k: int,
    *,
    bits: int,
    alive: NDArray[np.bool_] | None = None,
) -> Neighbours:
    """The k rows nearest to `query` over the first `bits` bits, exactly; fewer where there are fewer."""
    if isinstance(k, bool) or not isinstance(k, (int, np.integer)) or k < 1:
        raise QueryError(f"k is {k!r}; ask for 1 neighbour or more")
    return _ask(query, words, ids, alive, bits, min(int(k), max(1, len(ids))), 0)


def within(
    query: Words,
    words: Words,
    ids: NDArray[np.int64],
    radius: int,
    *,
    bits: int,
    alive: NDArray[np.bool_] | None = None,
) -> Neighbours:
    """All rows at most `radius` away from `query` over the first `bits` bits."""
    if isinstance(radius, bool) or not isinstance(radius, (int, np.integer)) or not 0 <= radius <= bits:
        raise QueryError(f"a distance of {radius!r} bits makes no sense here; it is a whole number from 0 to {bits}")
    return _ask(query, words, ids, alive, bits, 0, int(radius))


def merge(parts: Sequence[Neighbours], k: int | None = None) -> Neighbours:
    """One answer from several, in the same order, cut to the k best."""
    nothing = Neighbours(np.empty(0, np.int64), np.empty(0, np.int32), np.empty(0, np.int32))
    parts = [nothing, *parts]
    ids = np.concatenate([part.ids for part in parts])
    distances = np.concatenate([part.distances for part in parts])
    full = np.concatenate([part.full for part in parts])
    order = np.lexsort((ids, full, distances))[:k]
    return Neighbours(ids[order], distances[order], full[order])


def _ask(
    query: Words,
    words: Words,
    ids: NDArray[np.int64],
    alive: NDArray[np.bool_] | None,
    bits: int,
    k: int,
    radius: int,
) -> Neighbours:
    _check(query, words, ids, alive, bits)
    if _compiled is None:
        return _neighbours(plain.scan(query, words, ids, alive, bits, k, radius))
    packed: Any = None if alive is None else np.packbits(alive, bitorder="little")
    n_words = words.shape[1]
    query, words, ids = np.ascontiguousarray(query), np.ascontiguousarray(words), np.ascontiguousarray(ids)
    found = _compiled.scan(query, words, ids, packed, n_words, int(bits), k, radius)
    return _neighbours(np.frombuffer(found, plain.RECORD))


def _neighbours(found: NDArray[np.void]) -> Neighbours:
    return Neighbours(found["id"].copy(), found["near"].copy(), found["full"].copy())


def _check(query: Words, words: Words, ids: NDArray[np.int64], alive: NDArray[np.bool_] | None, bits: int) -> None:
    if words.ndim != 2 or words.dtype != np.uint64 or query.dtype != np.uint64:
        raise CodesError(f"codes are uint64 words (n, n_words), not {words.dtype} {words.shape}")
    if query.shape != (words.shape[1],):
        raise CodesError(f"a query of shape {query.shape} does not fit codes of {words.shape[1]} words")
    if ids.shape != (len(words),) or ids.dtype != np.int64:
        raise CodesError(f"{len(words)} codes take as many int64 ids, not {ids.dtype} {ids.shape}")
    if alive is not None and (alive.shape != (len(words),) or alive.dtype != np.bool_):
        raise CodesError(f"{len(words)} codes take as many marks of what is alive, not {alive.dtype} {alive.shape}")
    if isinstance(bits, bool) or not isinstance(bits, (int, np.integer)) or not 1 <= bits <= 64 * words.shape[1]:
        raise CodesError(f"{bits!r} bits cannot be compared in codes of {64 * words.shape[1]} bits")
