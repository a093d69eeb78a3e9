"""Self join: all pairs of rows within a radius of each other, without comparing most of them.

If codes that differ in r bits are cut into m chunks of 16 bits, some chunk differs in at most r // m bits (pigeonhole).
So rows are bucketed by one chunk after another, and only rows of similar buckets are compared.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from hashgrain.codes import prefix_mask
from hashgrain.errors import QueryError
from hashgrain.hamming import native, plain
from hashgrain.hamming.index import BUCKETS, CHUNK
from hashgrain.hamming.pool import check_threads, run
from hashgrain.hamming.rows import Plane, Rows, unpacked

PAIR = np.dtype([("a", np.uint32), ("b", np.uint32), ("distance", np.int32)])
COMPARED_AT_ONCE = 1 << 22  # comparisons of a step, which bound its pairs
WORTH_BUCKETS = 0.25  # share of all pairs; if buckets leave more to compare, all rows are compared


@dataclass(frozen=True)
class Pairs:
    """Ids of two rows, the smaller first, and their distance."""

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    distances: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.first)


def join(parts: Sequence[Rows], radius: int, *, bits: int, threads: int | None = None) -> Iterator[Pairs]:
    """Every pair at most `radius` apart over the first `bits` bits, each once, in chunks, unordered."""
    if isinstance(radius, bool) or not isinstance(radius, (int, np.integer)) or not 0 <= radius <= bits:
        raise QueryError(f"a distance of {radius!r} bits makes no sense here; it is a whole number from 0 to {bits}")
    count = check_threads(threads)
    ids, planes = _alive(parts, bits)
    if not native.compiled():
        pair_blocks: Iterator[tuple[NDArray[np.int64], ...]] = (
            tuple(pairs.T) for pairs in plain.join(np.stack(planes, 1), int(radius))
        )
    else:
        pair_blocks = _compiled_join(planes, int(radius), bits, count)
    for a, b, distance in pair_blocks:
        if len(a):
            one, other = ids[a], ids[b]
            yield Pairs(np.minimum(one, other), np.maximum(one, other), distance.astype(np.int32))


def _alive(parts: Sequence[Rows], bits: int) -> tuple[NDArray[np.int64], list[Plane]]:
    """The valid rows, cut to the grain."""
    width = (bits + 63) // 64
    alive = [unpacked(part) for part in parts]
    ids = np.concatenate([np.empty(0, np.int64), *(part.ids[k] for part, k in zip(parts, alive, strict=True))])
    planes = [
        np.concatenate([np.empty(0, np.uint64), *(part.planes[w][k] for part, k in zip(parts, alive, strict=True))])
        for w in range(width)
    ]
    planes[-1] = planes[-1] & prefix_mask(bits, width)[-1]
    return ids, planes


def _reaches(radius: int, chunks: int) -> NDArray[np.int32]:
    """The number of differing bits up to which each chunk is searched; -1 for chunks that can be skipped."""
    each, more = divmod(radius, chunks)
    return np.array([each if chunk <= more else each - 1 for chunk in range(chunks)], np.int32)


def _compiled_join(
    planes: list[Plane], radius: int, bits: int, threads: int
) -> Iterator[tuple[NDArray[np.int64], ...]]:
    n = len(planes[0])
    reaches = _reaches(radius, -(-bits // CHUNK))
    chunks = {chunk: _chunk(planes, chunk) for chunk in range(len(reaches)) if reaches[chunk] >= 0}
    to_compare = {chunk: _to_compare(values, int(reaches[chunk])) for chunk, values in chunks.items()}
    if sum(compared.sum() for compared in to_compare.values()) > WORTH_BUCKETS * n * n:
        rows, nothing_before = np.arange(n, dtype=np.uint32), np.full(1, -1, np.int32)
        yield from _steps(planes, radius, None, rows, 0, nothing_before, np.full(n, n), threads)
        return
    for chunk, values in chunks.items():
        order = np.argsort(values, kind="stable")
        starts = np.searchsorted(values[order], np.arange(BUCKETS + 1)).astype(np.uint32)
        ordered = [plane[order] for plane in planes]
        compared = to_compare[chunk][order]
        yield from _steps(ordered, radius, starts, order.astype(np.uint32), chunk, reaches, compared, threads)


def _chunk(planes: Sequence[Plane], chunk: int) -> NDArray[np.uint16]:
    return np.asarray(planes[chunk // 4] >> np.uint64(CHUNK * (chunk % 4))).astype(np.uint16)


def _to_compare(values: NDArray[np.uint16], reach: int) -> NDArray[np.int64]:
    """The number of rows in buckets within reach of each row's bucket. Beyond two bits, buckets never pay off."""
    if reach > 2:
        return np.full(len(values), len(values))
    sizes, bucket = np.bincount(values, minlength=BUCKETS), np.arange(BUCKETS)
    flips = [0] if reach < 1 else [0, *(1 << b for b in range(CHUNK))]
    if reach == 2:
        flips += [1 << a | 1 << b for a in range(CHUNK) for b in range(a)]
    like = np.sum([sizes[bucket ^ flip] for flip in flips], axis=0)
    return np.asarray(like[values], np.int64)


def _steps(
    planes: Sequence[Plane],
    radius: int,
    starts: NDArray[np.uint32] | None,
    rows: NDArray[np.uint32],
    chunk: int,
    reaches: NDArray[np.int32],
    compared: NDArray[np.int64],
    threads: int,
) -> Iterator[tuple[NDArray[np.int64], ...]]:
    """The pairs from one order of the rows, in chunks with a bounded number of comparisons."""
    n, columns = len(rows), tuple(planes)
    so_far = np.cumsum(compared)
    cuts = [0]
    while cuts[-1] < n:
        before = so_far[cuts[-1] - 1] if cuts[-1] else 0
        cuts.append(max(cuts[-1] + 1, int(np.searchsorted(so_far, before + COMPARED_AT_ONCE, "right"))))

    def share(low: int, high: int) -> bytes:
        records: bytes = native.kernels.join(
            columns, n, len(columns), radius, starts, rows, chunk, reaches, low, high, None
        )
        return records

    tasks = [partial(share, low, high) for low, high in pairwise(cuts)]
    for at in range(0, len(tasks), threads):
        for records in run(tasks[at : at + threads], threads):
            pairs = np.frombuffer(records, PAIR)
            yield pairs["a"].astype(np.int64), pairs["b"].astype(np.int64), pairs["distance"]
