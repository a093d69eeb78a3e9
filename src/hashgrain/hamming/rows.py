"""Runs of codes in the layout of the kernels: word by word instead of code by code."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from hashgrain.codes import Words
from hashgrain.errors import CodesError

LINE = 64  # bytes of a cache line
UNNUMBERED = -(1 << 62)  # first row of rows that were gathered from many places: no index covers them
BLOCK = 64  # kernels process so many rows at a time; masks are padded to it
Plane = NDArray[np.uint64]


class Rows(Protocol):
    """A run of rows with their ids. Plane w holds word w of every code."""

    @property
    def first_row(self) -> int: ...
    @property
    def ids(self) -> NDArray[np.int64]: ...
    @property
    def planes(self) -> tuple[Plane, ...]: ...
    @property
    def mask(self) -> NDArray[np.uint8] | None:
        """One bit per row, 1 for valid rows, little-endian, padded to 8 bytes; None if all are valid."""

    @property
    def ascending(self) -> bool:
        """Whether ids increase from row to row."""


@dataclass(frozen=True, eq=False)
class Run:
    """Rows in memory."""

    first_row: int
    ids: NDArray[np.int64]
    planes: tuple[Plane, ...]
    mask: NDArray[np.uint8] | None
    ascending: bool


def rows_of(
    words: Words, ids: NDArray[np.int64] | None = None, alive: NDArray[np.bool_] | None = None, first_row: int = 0
) -> Run:
    """Codes (n, n_words) as rows; without ids they are numbered from 0."""
    if words.ndim != 2 or words.dtype != np.uint64:
        raise CodesError(f"codes are uint64 words (n, n_words), not {words.dtype} {words.shape}")
    numbers = np.arange(len(words)) if ids is None else np.ascontiguousarray(ids)
    if numbers.shape != (len(words),) or numbers.dtype != np.int64:
        raise CodesError(f"{len(words)} codes take as many int64 ids, not {numbers.dtype} {numbers.shape}")
    if alive is not None and (alive.shape != (len(words),) or alive.dtype != np.bool_):
        raise CodesError(f"{len(words)} codes take as many marks of what is alive, not {alive.dtype} {alive.shape}")
    planes = tuple(_aligned(words[:, w]) for w in range(words.shape[1]))
    ascending = bool(np.all(numbers[1:] > numbers[:-1]))
    return Run(first_row, numbers, planes, None if alive is None else packed(alive), ascending)


def _aligned(plane: Plane) -> Plane:
    """A copy that is aligned to a cache line, like mapped segments: this makes reading main memory a third faster."""
    room = np.empty(len(plane) + LINE // 8, np.uint64)
    start = -room.ctypes.data % LINE // 8
    copy = room[start : start + len(plane)]
    copy[:] = plane
    return copy


def packed(alive: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Marks as a mask."""
    mask = np.zeros(-(-len(alive) // BLOCK) * (BLOCK // 8), np.uint8)
    bits = np.packbits(alive, bitorder="little")
    mask[: len(bits)] = bits
    return mask


def unpacked(rows: Rows) -> NDArray[np.bool_]:
    """Which rows are valid, one boolean per row."""
    if rows.mask is None:
        return np.ones(len(rows.ids), np.bool_)
    return np.unpackbits(rows.mask, bitorder="little", count=len(rows.ids)).astype(np.bool_)


def piece(rows: Rows, low: int, high: int) -> Run:
    """Rows low (a multiple of 64) to before high, without copying."""
    mask = None if rows.mask is None else rows.mask[low // 8 : -(-high // BLOCK) * (BLOCK // 8)]
    planes = tuple(plane[low:high] for plane in rows.planes)
    return Run(rows.first_row + low, rows.ids[low:high], planes, mask, rows.ascending)


def pieces(parts: Sequence[Rows], count: int) -> Iterator[list[Rows]]:
    """The same rows in `count` shares of about the same size."""
    total = sum(len(part.ids) for part in parts)
    share = max(BLOCK, -(-total // count // BLOCK) * BLOCK)
    taken: list[Rows] = []
    room = share
    for part in parts:
        low = 0
        while low < len(part.ids):
            high = min(len(part.ids), low + max(BLOCK, room // BLOCK * BLOCK))
            taken.append(part if low == 0 and high == len(part.ids) else piece(part, low, high))
            room -= high - low
            low = high
            if room < BLOCK:
                yield taken
                taken, room = [], share
    if taken:
        yield taken


def gather(parts: Sequence[Rows], places: Sequence[NDArray[np.int64]]) -> Run:
    """Copy a few rows of each part."""
    ids = np.concatenate([part.ids[at] for part, at in zip(parts, places, strict=True)])
    n_words = len(parts[0].planes)
    planes = tuple(
        _aligned(np.concatenate([part.planes[w][at] for part, at in zip(parts, places, strict=True)]))
        for w in range(n_words)
    )
    return Run(UNNUMBERED, ids, planes, None, False)
