"""Asymmetric ranking: the real-valued outputs of a query against stored bits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hashgrain.codes import Words
from hashgrain.errors import CodesError, QueryError
from hashgrain.hamming import native, plain
from hashgrain.hamming.neighbours import Cost
from hashgrain.hamming.pool import check_threads, run
from hashgrain.hamming.rows import Rows, piece, unpacked

UNITS = 1 << 40  # integer value of the largest output: finer than a 32-bit float, and the sum of 4,096 of them fits
AT_ONCE = 1 << 16  # rows whose words are interleaved for the kernel at a time


@dataclass(frozen=True)
class Reranked:
    """Ids by decreasing score, then by id."""

    ids: NDArray[np.int64]
    scores: NDArray[np.float64]  # from -1 to 1: 1 where every bit has the sign of its output
    parts: NDArray[np.int64] | None = None  # where parts were asked, too: the best of each item, 0 for the whole


def rerank(outputs: ArrayLike, ids: NDArray[np.int64], words: Words) -> Reranked:
    """Sort a shortlist by the agreement of its codes (n, n_words) with a model's outputs (bits,).

    Each bit has the weight of its output. Sums are of integers, so the order is the same on every machine.
    """
    if words.ndim != 2 or words.dtype != np.uint64 or ids.shape != (len(words),):
        raise CodesError(f"a shortlist is ids (n,) and uint64 words (n, n_words), not {ids.shape} and {words.shape}")
    units = _units(outputs, words.shape[1])
    scores = _scores(units, words)
    order = np.lexsort((ids, -scores))
    return Reranked(ids[order], scores[order] / np.abs(units).sum())


def agreeing(outputs: ArrayLike, parts: Sequence[Rows], k: int, *, threads: int | None = None) -> tuple[Reranked, Cost]:
    """The k rows that agree best with a model's outputs (bits,), exactly; fewer if there are fewer rows.

    Every valid row gets the score of `rerank`.
    """
    n_words = max((len(part.planes) for part in parts), default=-(-np.size(outputs) // 64))
    units = _units(outputs, n_words)
    pieces = [piece(part, low, low + AT_ONCE) for part in parts for low in range(0, len(part.ids), AT_ONCE)]
    best = run([partial(_best, units, rows, k) for rows in pieces], check_threads(threads))
    ids = np.concatenate([np.empty(0, np.int64), *(each[0] for each in best)])
    scores = np.concatenate([np.empty(0, np.int64), *(each[1] for each in best)])
    order = np.lexsort((ids, -scores))[:k]
    looked = sum(each[2] for each in best)
    cost = Cost("scan" if native.compiled() else "numpy", looked, looked * 8 * (-(-len(units) // 64)))
    return Reranked(ids[order], scores[order] / np.abs(units).sum()), cost


def _best(units: NDArray[np.int64], rows: Rows, k: int) -> tuple[NDArray[np.int64], NDArray[np.int64], int]:
    """Ids and scores of the k best rows, unsorted, with all ties of the last; and the number of scored rows."""
    ids, words = rows.ids, np.stack(rows.planes, axis=1)
    if rows.mask is not None:
        alive = unpacked(rows)
        ids, words = ids[alive], words[alive]
    scores = _scores(units, words)
    if k >= len(scores):
        return ids, scores, len(scores)
    least = np.partition(scores, len(scores) - k)[len(scores) - k]
    best = np.flatnonzero(scores >= least)
    return ids[best], scores[best], len(scores)


def _units(outputs: ArrayLike, n_words: int) -> NDArray[np.int64]:
    """The outputs scaled to integers."""
    sure = np.asarray(outputs, np.float64)
    if sure.ndim != 1 or not 1 <= len(sure) <= 64 * n_words:
        raise CodesError(f"outputs of shape {sure.shape} do not fit codes of {64 * n_words} bits")
    if not np.isfinite(sure).all():
        raise QueryError("the query's outputs are not all numbers (NaN or infinite)")
    largest = np.abs(sure).max()
    if largest == 0:
        raise QueryError("the query's outputs are all zero: they order nothing")
    return np.asarray(np.rint(sure / largest * UNITS), np.int64)


def _scores(units: NDArray[np.int64], words: Words) -> NDArray[np.int64]:
    if not native.compiled():
        return plain.rerank(units, words)
    rows = np.ascontiguousarray(words)
    scores = native.kernels.rerank(units, len(units), rows, words.shape[1], len(rows))
    return np.frombuffer(scores, np.int64)
