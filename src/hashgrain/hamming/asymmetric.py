"""Asymmetric re-ranking: a query's real-valued outputs say more than its bits, at no cost to what is stored."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hashgrain.codes import Words
from hashgrain.errors import CodesError, QueryError
from hashgrain.hamming import native, plain

UNITS = 1 << 40  # the largest output becomes so many units: finer than a 32-bit float, and 4,096 of them fit


@dataclass(frozen=True)
class Reranked:
    """Ids by falling score; what scores the same, by id."""

    ids: NDArray[np.int64]
    scores: NDArray[np.float64]  # from -1 to 1: 1 where every bit has the sign of its output


def rerank(outputs: ArrayLike, ids: NDArray[np.int64], words: Words) -> Reranked:
    """Order a shortlist by how well its codes (n, n_words) agree with a model's outputs (bits,).

    Each bit counts as much as the model was sure of it. Whole numbers are added, so that the order is the same
    on every machine.
    """
    if words.ndim != 2 or words.dtype != np.uint64 or ids.shape != (len(words),):
        raise CodesError(f"a shortlist is ids (n,) and uint64 words (n, n_words), not {ids.shape} and {words.shape}")
    sure = np.asarray(outputs, np.float64)
    if sure.ndim != 1 or not 1 <= len(sure) <= 64 * words.shape[1]:
        raise CodesError(f"outputs of shape {sure.shape} do not fit codes of {64 * words.shape[1]} bits")
    if not np.isfinite(sure).all():
        raise QueryError("the query's outputs are not all numbers (NaN or infinite)")
    largest = np.abs(sure).max()
    if largest == 0:
        raise QueryError("the query's outputs are all zero: they order nothing")
    units = np.rint(sure / largest * UNITS).astype(np.int64)
    if native.compiled():
        rows = np.ascontiguousarray(words)
        found = native.kernels.rerank(units, len(units), rows, words.shape[1], len(rows))
        scores = np.frombuffer(found, np.int64)
    else:
        scores = plain.rerank(units, words)
    order = np.lexsort((ids, -scores))
    return Reranked(ids[order], scores[order] / np.abs(units).sum())
