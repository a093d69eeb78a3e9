"""Builds indexes, and computes their sizes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from hashgrain.codes import Words, prefix_mask
from hashgrain.hamming import native
from hashgrain.hamming.index import BUCKETS, CHUNK, MAX_TABLES, Lists, Tables
from hashgrain.hamming.pool import check_threads, run
from hashgrain.hamming.question import Question
from hashgrain.hamming.rows import Rows, rows_of

SAMPLE_PER_LIST = 24
ROUNDS = 6
MOST_LISTS = 4096
ASSIGNED_AT_ONCE = 1 << 14


def tables_bytes(n: int, bits: int) -> int:
    """The size of tables over n rows, for grains of up to `bits` bits."""
    tables = min(bits, CHUNK * MAX_TABLES) // CHUNK
    return tables * (12 * n + 4 * (BUCKETS + 1))


def lists_bytes(n: int, bits: int) -> int:
    """The size of lists over n rows."""
    words = (bits + 63) // 64
    return n * (8 * words + 4) + lists_for(n) * (8 * words + 4 * (bits + 2))


def lists_for(n: int) -> int:
    """The number of lists: about the square root of n, which balances the costs of centres and rows."""
    return min(MOST_LISTS, 1 << (max(1, n).bit_length() // 2))


def build_tables(parts: Sequence[Rows], first: int, end: int, bits: int, threads: int | None = None) -> Tables:
    """Tables for every grain of 16, 32, 48 or 64 bits up to `bits`, over rows first to before end."""
    codes = np.concatenate([np.empty(0, np.uint64), *(part.planes[0][_of(part, first, end)] for part in parts)])
    count, n = min(bits, CHUNK * MAX_TABLES) // CHUNK, len(codes)
    starts = np.empty((count, BUCKETS + 1), np.uint32)
    ordered, rows = np.empty((count, n), np.uint64), np.empty((count, n), np.uint32)
    tasks = [partial(_build_table, codes, t, starts[t], ordered[t], rows[t]) for t in range(count)]
    run(tasks, check_threads(threads))
    return Tables(first, n, starts, ordered, rows)


def _build_table(
    codes: NDArray[np.uint64],
    table: int,
    starts: NDArray[np.uint32],
    ordered: NDArray[np.uint64],
    rows: NDArray[np.uint32],
) -> None:
    if native.compiled():
        native.kernels.build_table(codes, len(codes), table, starts, ordered, rows)
        return
    chunks = (codes >> np.uint64(CHUNK * table)).astype(np.uint16)
    order = np.argsort(chunks, kind="stable")
    starts[:] = np.searchsorted(chunks[order], np.arange(BUCKETS + 1))
    ordered[:], rows[:] = codes[order], order


def build_lists(
    parts: Sequence[Rows], first: int, end: int, bits: int, threads: int | None = None, seed: int = 0
) -> Lists:
    """Lists around centres found by k-majority on a sample, over rows first to before end."""
    width = (bits + 63) // 64
    planes = [
        np.concatenate([np.empty(0, np.uint64), *(part.planes[w][_of(part, first, end)] for part in parts)])
        for w in range(width)
    ]
    planes[-1] = planes[-1] & prefix_mask(bits, width)[-1]
    n = len(planes[0])
    rng = np.random.default_rng(seed)
    sample = rng.choice(n, min(n, SAMPLE_PER_LIST * lists_for(n)), replace=False)
    centres = _centres(np.stack([plane[sample] for plane in planes], 1), min(n, lists_for(n)), bits, rng, threads)
    nearest, distance = _assign(planes, centres, bits, threads)
    keys = nearest.astype(np.uint32) * np.uint32(bits + 2) + distance
    order = np.argsort(keys, kind="stable").astype(np.uint32)
    starts = np.searchsorted(keys[order], np.arange(len(centres) * (bits + 2))).astype(np.uint32)
    ordered = np.empty((width, n), np.uint64)
    for w in range(width):  # one by one, each freed: a large library is already in memory twice
        ordered[w] = planes.pop(0)[order]
    return Lists(first, n, bits, centres, starts.reshape(len(centres), bits + 2), ordered, order)


def _centres(sample: Words, count: int, bits: int, rng: np.random.Generator, threads: int | None) -> Words:
    """k-majority: Lloyd's algorithm where the mean of codes is the majority of each bit."""
    if not count:
        return sample
    centres = sample[rng.choice(len(sample), count, replace=False)]
    planes = list(sample.T)
    as_bits = np.unpackbits(sample.view(np.uint8), axis=1, bitorder="little").astype(np.float32)
    for _ in range(ROUNDS):
        nearest, _ = _assign(planes, centres, bits, threads)
        order = np.argsort(nearest, kind="stable")
        used, begins, sizes = np.unique(nearest[order], return_index=True, return_counts=True)
        sums = np.add.reduceat(as_bits[order], begins, axis=0)
        majority = np.packbits(sums * 2 > sizes[:, None], axis=1, bitorder="little")
        centres[used] = majority.view(np.uint64)
    return centres


def _assign(
    planes: Sequence[NDArray[np.uint64]], centres: Words, bits: int, threads: int | None
) -> tuple[NDArray[np.uint16], NDArray[np.uint16]]:
    """The nearest centre of each row, and its distance."""
    n = len(planes[0])
    nearest, distance = np.empty(n, np.uint16), np.empty(n, np.uint16)
    target = [rows_of(centres)]

    def some(low: int) -> None:
        codes = np.stack([plane[low : low + ASSIGNED_AT_ONCE] for plane in planes], 1)
        ids, near = native.nearest_one(Question(codes, bits, 1, bits), target)
        nearest[low : low + len(codes)], distance[low : low + len(codes)] = ids, near

    run([partial(some, low) for low in range(0, n, ASSIGNED_AT_ONCE)], check_threads(threads))
    return nearest, distance


def _of(part: Rows, first: int, end: int) -> slice:
    return slice(max(0, first - part.first_row), max(0, end - part.first_row))
