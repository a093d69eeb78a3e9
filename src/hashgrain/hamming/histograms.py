"""Histograms of the distances from queries to rows, by grade of relevance.

Every retrieval figure is computed from these counts; a matrix of queries by rows is never stored.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from hashgrain.codes import Words
from hashgrain.errors import CodesError
from hashgrain.hamming import native, plain
from hashgrain.hamming.pool import check_threads, run
from hashgrain.hamming.rows import Run

Histograms = NDArray[np.int64]  # (queries, grades + 1, 64 * n_words + 1)
QUERIES_AT_ONCE = 512
Count = Callable[[Words, slice, Histograms], None]


def count_ranges(queries: Words, rows: Run, bounds: NDArray[np.int64], *, threads: int | None = None) -> Histograms:
    """Counts by nested ranges of rows: `bounds` (queries, grades, 2) are the ranges of rows of each grade or more."""
    n = len(rows.ids)
    if (
        bounds.ndim != 3
        or bounds.shape[::2] != (len(queries), 2)
        or bounds.min(initial=0) < 0
        or bounds.max(initial=0) > n
    ):
        raise CodesError(f"{len(queries)} queries over {n} rows take as many sets of ranges, not {bounds.shape}")
    bounds = np.ascontiguousarray(bounds, np.int64)

    def count(some: Words, part: slice, out: Histograms) -> None:
        if native.compiled():
            native.kernels.count_ranges(_asked(some, rows, out), bounds[part])
        else:
            plain.count_ranges(some, np.stack(rows.planes, 1), bounds[part], out)

    return _count(queries, bounds.shape[1], rows, count, threads)


def count_shared(
    queries: Words, rows: Run, query_sets: Words, row_sets: Words, grades: int, *, threads: int | None = None
) -> Histograms:
    """Counts by the number of labels (bits of the sets) that a row shares with the query, at most `grades`."""
    if len(query_sets) != len(queries) or len(row_sets) != len(rows.ids) or query_sets.shape[1] != row_sets.shape[1]:
        raise CodesError(f"sets of labels do not fit: {query_sets.shape} for queries, {row_sets.shape} for rows")
    wanted = np.ascontiguousarray(query_sets)
    planes = tuple(np.ascontiguousarray(row_sets[:, w]) for w in range(row_sets.shape[1]))

    def count(some: Words, part: slice, out: Histograms) -> None:
        if native.compiled():
            native.kernels.count_shared(_asked(some, rows, out), wanted[part], len(planes), planes)
        else:
            plain.count_shared(some, np.stack(rows.planes, 1), wanted[part], row_sets, out)

    return _count(queries, grades, rows, count, threads)


def _asked(queries: Words, rows: Run, out: Histograms) -> tuple[object, ...]:
    n_queries, grades_and_none, bins = out.shape
    return queries, n_queries, queries.shape[1], bins, grades_and_none - 1, rows.planes, len(rows.ids), out


def _count(queries: Words, grades: int, rows: Run, count: Count, threads: int | None) -> Histograms:
    if queries.ndim != 2 or queries.dtype != np.uint64 or queries.shape[1] != len(rows.planes):
        raise CodesError(f"queries of shape {queries.shape} do not fit rows of {len(rows.planes)} words")
    words = np.ascontiguousarray(queries)
    out = np.zeros((len(words), grades + 1, 64 * words.shape[1] + 1), np.int64)
    parts: Sequence[slice] = [slice(i, i + QUERIES_AT_ONCE) for i in range(0, len(words), QUERIES_AT_ONCE)]
    run([partial(count, words[part], part, out[part]) for part in parts], check_threads(threads))
    return out
