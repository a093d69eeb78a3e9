"""Asymmetric ranking: a query's real-valued outputs say more than its bits, at no cost to what is stored."""

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

UNITS = 1 << 40  # the largest output becomes so many units: finer than a 32-bit float, and 4,096 of them fit
AT_ONCE = 1 << 16  # rows whose words are laid side by side for the kernel


@dataclass(frozen=True)
class Reranked:
    """Ids by falling score; what scores the same, by id."""

    ids: NDArray[np.int64]
    scores: NDArray[np.float64]  # from -1 to 1: 1 where every bit has the sign of its output
    parts: NDArray[np.int64] | None = None  # where parts were asked, too: the best of each item, 0 for the whole


def rerank(outputs: ArrayLike, ids: NDArray[np.int64], words: Words) -> Reranked:
    """Order a shortlist by how well its codes (n, n_words) agree with a model's outputs (bits,).

    Each bit counts as much as the model was sure of it. Whole numbers are added, so that the order is the same
    on every machine.
    """
    if words.ndim != 2 or words.dtype != np.uint64 or ids.shape != (len(words),):
        raise CodesError(f"a shortlist is ids (n,) and uint64 words (n, n_words), not {ids.shape} and {words.shape}")
    units = _units(outputs, words.shape[1])
    scores = _scores(units, words)
    order = np.lexsort((ids, -scores))
    return Reranked(ids[order], scores[order] / np.abs(units).sum())


def agreeing(outputs: ArrayLike, parts: Sequence[Rows], k: int, *, threads: int | None = None) -> tuple[Reranked, Cost]:
    """The k of all rows that agree best with a model's outputs (bits,), exactly; fewer where there are fewer.

    Every row that may answer is scored, as by `rerank`.
    """
    n_words = max((len(part.planes) for part in parts), default=-(-np.size(outputs) // 64))
    units = _units(outputs, n_words)
    pieces = [piece(part, low, low + AT_ONCE) for part in parts for low in range(0, len(part.ids), AT_ONCE)]
    found = run([partial(_best, units, rows, k) for rows in pieces], check_threads(threads))
    ids = np.concatenate([np.empty(0, np.int64), *(each[0] for each in found)])
    scores = np.concatenate([np.empty(0, np.int64), *(each[1] for each in found)])
    order = np.lexsort((ids, -scores))[:k]
    looked = sum(each[2] for each in found)
    cost = Cost("scan" if native.compiled() else "numpy", looked, looked * 8 * (-(-len(units) // 64)))
    return Reranked(ids[order], scores[order] / np.abs(units).sum()), cost


def _best(units: NDArray[np.int64], rows: Rows, k: int) -> tuple[NDArray[np.int64], NDArray[np.int64], int]:
    """Ids and scores of the k best rows, in no order, with all that tie with the last; and how many were scored."""
    ids, words = rows.ids, np.stack(rows.planes, axis=1)
    if rows.mask is not None:
        alive = unpacked(rows)
        ids, words = ids[alive], words[alive]
    scores = _scores(units, words)
    if k >= len(scores):
        return ids, scores, len(scores)
    least = np.partition(scores, len(scores) - k)[len(scores) - k]
    kept = np.flatnonzero(scores >= least)
    return ids[kept], scores[kept], len(scores)


def _units(outputs: ArrayLike, n_words: int) -> NDArray[np.int64]:
    """Outputs as whole numbers."""
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
    found = native.kernels.rerank(units, len(units), rows, words.shape[1], len(rows))
    return np.frombuffer(found, np.int64)
