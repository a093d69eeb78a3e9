"""Indexes: the same codes in another order, so that a search skips most of them.

They never change an answer. Tables (multi-index hashing) serve grains of up to 64 bits, lists around centres serve
longer ones. Each covers a run of rows; rows without an index are scanned.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from hashgrain.hamming.mapping import Mapping
from hashgrain.hamming.neighbours import SearchPath
from hashgrain.hamming.path_timings import PathTimings
from hashgrain.hamming.question import Question
from hashgrain.hamming.rows import BLOCK, Plane, Rows, Run, piece

CHUNK = 16  # bits that select a bucket of a table
BUCKETS = 1 << CHUNK
MAX_TABLES = 4


class Index(Protocol):
    """The interface of both kinds for the kernels."""

    @property
    def path(self) -> SearchPath: ...
    @property
    def first(self) -> int: ...
    @property
    def n(self) -> int: ...
    @property
    def timings(self) -> PathTimings: ...
    def cut(self) -> bool: ...
    def serves(self, bits: int) -> bool: ...
    def described(self) -> tuple[Any, ...]: ...


@dataclass(frozen=True, eq=False)
class Tables:
    """Table t holds the rows' first words, sorted by bits 16 t to 16 t + 15, with their row numbers."""

    first: int
    n: int
    starts: NDArray[np.uint32]  # (tables, 65537): where each bucket begins
    codes: Plane  # (tables, n)
    rows: NDArray[np.uint32]  # (tables, n), counted from `first`

    path: SearchPath = "tables"
    timings: PathTimings = field(default_factory=PathTimings)
    mapping: Mapping | None = None  # of its file

    def cut(self) -> bool:
        """Whether its file was cut short since it was mapped: then its answers are invalid."""
        return self.mapping is not None and self.mapping.cut()

    def serves(self, bits: int) -> bool:
        return bits % CHUNK == 0 and bits <= CHUNK * len(self.starts)

    def described(self) -> tuple[Any, ...]:
        return (self.first, self.n, self.starts, self.codes, self.rows, len(self.starts))


@dataclass(frozen=True, eq=False)
class Lists:
    """Lists of rows around centres, sorted by the distance from the centre."""

    first: int
    n: int
    bits: int
    centres: NDArray[np.uint64]  # (lists, words)
    starts: NDArray[np.uint32]  # (lists, bits + 2): where the rows at each distance or more begin
    planes: NDArray[np.uint64]  # (words, n)
    rows: NDArray[np.uint32]  # (n,), counted from `first`

    path: SearchPath = "lists"
    timings: PathTimings = field(default_factory=PathTimings)
    mapping: Mapping | None = None  # of its file

    def cut(self) -> bool:
        return self.mapping is not None and self.mapping.cut()

    def serves(self, bits: int) -> bool:
        return bits == self.bits

    def described(self) -> tuple[Any, ...]:
        planes = tuple(self.planes)
        return (self.first, self.n, self.bits, self.centres, self.starts, planes, self.rows, len(self.centres))


def covering(question: Question, parts: Sequence[Rows], indexes: Sequence[Index]) -> list[Index]:
    """The indexes that can answer this question, of one kind, in the order of rows."""
    if question.weighted is not None or not parts:
        return []
    end = max(part.first_row + len(part.ids) for part in parts)
    fit = [index for index in indexes if index.serves(question.bits) and index.first + index.n <= end]
    chosen: list[Index] = []
    for index in sorted((i for i in fit if i.path == fit[0].path), key=lambda i: (i.first, -i.n)):
        if not chosen or index.first >= chosen[-1].first + chosen[-1].n:  # overlaps would give duplicate hits
            chosen.append(index)
    return chosen


def rest_of(parts: Sequence[Rows], indexes: Sequence[Index]) -> list[Rows]:
    """The rows without an index."""
    return [rest for part in parts for rest in _uncovered(part, indexes)]


def _uncovered(part: Rows, indexes: Sequence[Index]) -> Iterator[Rows]:
    low, end = part.first_row, part.first_row + len(part.ids)
    for index in indexes:
        if low < index.first:
            yield from _between(part, low, min(end, index.first))
        low = max(low, index.first + index.n)
    yield from _between(part, low, end)


def _between(part: Rows, low: int, high: int) -> Iterator[Rows]:
    """Rows by their numbers. Kernels begin at multiples of 64: rows before `low` are masked out."""
    if low >= high:
        return
    start, stop = low - part.first_row, high - part.first_row
    if start == 0 and stop == len(part.ids):
        yield part
        return
    aligned = start // BLOCK * BLOCK
    rest = piece(part, aligned, stop)
    if aligned < start:
        size = -(-len(rest.ids) // BLOCK) * (BLOCK // 8)
        mask = np.full(size, 255, np.uint8) if rest.mask is None else rest.mask.copy()
        skipped = start - aligned
        mask[: skipped // 8] = 0
        mask[skipped // 8] &= 0xFF << (skipped % 8) & 0xFF
        rest = Run(rest.first_row, rest.ids, rest.planes, mask, rest.ascending)
    yield rest
