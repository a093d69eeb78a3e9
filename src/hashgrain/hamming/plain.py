"""The numpy twin of the compiled kernels: the same answers, slower. It is the oracle of their tests."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from hashgrain.codes import Words, prefix_mask, unpack
from hashgrain.hamming.neighbours import Cost, Neighbours
from hashgrain.hamming.question import Question
from hashgrain.hamming.rows import Rows, unpacked

PAIRS_AT_ONCE = 1 << 22


def scan(question: Question, parts: Sequence[Rows]) -> list[Neighbours]:
    """Every query against every row."""
    n_words = question.n_words
    alive = np.concatenate([np.empty(0, np.bool_), *(unpacked(part) for part in parts)])
    ids = np.concatenate([np.empty(0, np.int64), *(part.ids for part in parts)])[alive]
    words = np.concatenate([np.empty((0, n_words), np.uint64), *(np.stack(part.planes, 1) for part in parts)])[alive]
    return [_scan_one(question, query, words, ids) for query in question.queries]


def _scan_one(question: Question, query: Words, words: Words, ids: NDArray[np.int64]) -> Neighbours:
    differing = words ^ query
    near = _distances(question, differing)
    inside = np.flatnonzero(near <= question.radius)
    near = near[inside]
    full = np.bitwise_count(differing[inside]).sum(axis=1, dtype=np.int32)
    order = np.lexsort((ids[inside], full, near))[: question.k or None]
    cost = Cost("numpy", len(ids), words.nbytes)
    total = len(inside) if question.counting else len(order)
    return Neighbours(ids[inside][order], scaled(question, near[order]), full[order], total, cost)


def _distances(question: Question, differing: Words) -> NDArray[np.int32]:
    if question.weighted is None:
        mask = prefix_mask(question.bits, question.n_words)
        return np.asarray(np.bitwise_count(differing & mask).sum(axis=1), np.int32)
    sums = np.zeros(len(differing), np.int32)
    for word, bits, weight in question.weighted:
        sums += np.bitwise_count(differing[:, word] & np.uint64(bits)).astype(np.int32) * np.int32(weight)
    return sums


def scaled(question: Question, near: NDArray[np.int32]) -> NDArray[np.int32] | NDArray[np.float64]:
    return near if question.weighted is None else np.asarray(near * question.scale, np.float64)


def join(words: Words, radius: int) -> Iterator[NDArray[np.int64]]:
    """All pairs of rows (i < j) at most `radius` apart, as (i, j, distance), in chunks of rows."""
    step = max(1, PAIRS_AT_ONCE // max(1, words.size))
    for low in range(0, len(words), step):
        some = words[low : low + step]
        distances = np.bitwise_count(some[:, None] ^ words[None, low:]).sum(axis=2, dtype=np.int64)
        later = np.arange(len(words) - low)[None] > np.arange(len(some))[:, None]
        i, j = np.nonzero((distances <= radius) & later)
        yield np.stack([i + low, j + low, distances[i, j]], axis=1)


def rerank(outputs: NDArray[np.int64], words: Words) -> NDArray[np.int64]:
    """The sum of the outputs whose bit is 1, minus the sum of the others."""
    bits = unpack(words, len(outputs)).astype(np.int64)
    return np.asarray((2 * bits - 1) @ outputs, np.int64)


def count_ranges(queries: Words, words: Words, bounds: NDArray[np.int64], out: NDArray[np.int64]) -> None:
    """For each query the number of rows at each distance, by the innermost of its ranges that contains them."""
    rows = np.arange(len(words))
    for query, ranges, counts in zip(queries, bounds, out, strict=True):
        grade = sum(((low <= rows) & (rows < high)).astype(np.int64) for low, high in ranges)
        _count_into(counts, query, words, np.asarray(grade))


def count_shared(queries: Words, words: Words, query_sets: Words, row_sets: Words, out: NDArray[np.int64]) -> None:
    """For each query the number of rows at each distance, by the number of labels they share with it."""
    for query, wanted, counts in zip(queries, query_sets, out, strict=True):
        shared = np.bitwise_count(row_sets & wanted).sum(axis=1, dtype=np.int64)
        _count_into(counts, query, words, np.minimum(shared, len(counts) - 1))


def _count_into(counts: NDArray[np.int64], query: Words, words: Words, grade: NDArray[np.int64]) -> None:
    distance = np.bitwise_count(words ^ query).sum(axis=1, dtype=np.int64)
    bins = counts.shape[1]
    counts += np.bincount(grade * bins + distance, minlength=counts.size).reshape(counts.shape)
