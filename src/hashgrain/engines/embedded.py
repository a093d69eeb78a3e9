"""The engine in this process: exact search over the segments of a snapshot, by scan or by index."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from hashgrain.codes import Codes, Grains, Words
from hashgrain.engines.applying import changed_part_rows, changed_rows
from hashgrain.engines.checks import bit_weights, check_change, check_codes, check_part_radii, check_radius
from hashgrain.engines.filters import filter_rows
from hashgrain.engines.grouping import PartRows
from hashgrain.engines.part_rows import PartsMode, check_parts_mode, count_rows, locate_parts
from hashgrain.errors import CodesError
from hashgrain.hamming import (
    CHUNK,
    MAX_TABLES,
    Cost,
    Index,
    Neighbours,
    Pairs,
    Reranked,
    Rows,
    agreeing,
    join,
    nearest,
    within,
)
from hashgrain.hamming.question import check_cap
from hashgrain.store import Change


class EmbeddedEngine:
    """Searches the segments it was given, which are those of change `sequence`, with the changes since.

    A library makes one over its own segments for each query. Without segments it is an engine in memory. `indexes`
    make it faster and never change an answer. `threads` is one per core by default. The rows of `part_segments` are of
    the parts 1, 2, ... of items; the id of a row is `item << 16 | part`.
    """

    def __init__(
        self,
        segments: Sequence[Rows],
        grains: Grains,
        indexes: Sequence[Index] = (),
        threads: int | None = None,
        sequence: int = 0,
        part_segments: Sequence[Rows] = (),
        part_indexes: Sequence[Index] = (),
    ) -> None:
        self.segments = segments
        self.part_segments = part_segments
        self.grains = grains
        self.indexes = indexes
        self.part_indexes = part_indexes
        self.threads = threads
        self.sequence = sequence
        self.library = ""

    def apply(self, changes: Iterable[Change]) -> None:
        """Apply all changes, or none if one of them is invalid. The last change of an item counts."""
        codes: dict[int, Words | None] = {}
        parts: dict[int, Words | None] = {}
        sequence = self.sequence
        for change in changes:
            if change.number <= sequence:
                continue
            check_change(change, self.grains)
            codes[change.item], parts[change.item], sequence = change.code, change.parts, change.number
        if codes:
            self.segments = changed_rows(self.segments, codes)
        if self.part_segments or any(each is not None for each in parts.values()):
            self.part_segments = changed_part_rows(self.part_segments, parts)
        self.sequence = sequence

    def close(self) -> None:
        """Release segments and indexes."""
        self.segments, self.indexes, self.part_segments, self.part_indexes = (), (), (), ()

    def nearest(
        self,
        codes: Codes,
        k: int,
        *,
        grain: str,
        parts: PartsMode = "whole",
        where: NDArray[np.int64] | None = None,
        weights: Mapping[str, float] | None = None,
        part_radii: Sequence[int] | None = None,
    ) -> list[Neighbours]:
        """For each code the k nearest items, with "all" by the nearest of their parts. `weights` has, for each grain,
        the weight of the bits that it adds to the grain before. Parts farther than `part_radii` do not count."""
        check_codes(codes, self.grains)
        check_part_radii(part_radii, codes, weights)
        check_parts_mode(parts)
        bits = compared_bits(self.grains, grain) if weights is None else self.grains.width(grain)
        by_bits = None if weights is None else bit_weights(weights, self.grains, grain)
        rows = self._rows(where, len(codes))
        neighbours = nearest(
            codes.words, rows, k, bits=bits, weights=by_bits, indexes=self.indexes, threads=self.threads
        )
        if parts == "all":
            radii = [bits] * len(codes) if part_radii is None else part_radii
            neighbours = self._part_rows(where, len(codes)).nearest(
                codes.words, k, neighbours, bits=bits, weights=by_bits, radii=radii
            )
        if self._drop_cut():  # answers without it are the same
            return self.nearest(codes, k, grain=grain, parts=parts, where=where, weights=weights, part_radii=part_radii)
        return neighbours

    def within(
        self,
        codes: Codes,
        radius: int,
        *,
        grain: str,
        parts: PartsMode = "whole",
        where: NDArray[np.int64] | None = None,
        cap: int | None = None,
    ) -> list[Neighbours]:
        """For each code all items at most `radius` away, or the `cap` nearest of them and how many there are."""
        check_codes(codes, self.grains)
        check_parts_mode(parts)
        check_cap(cap)
        check_radius(radius, self.grains, grain)
        bits = compared_bits(self.grains, grain)
        rows = self._rows(where, len(codes))
        row_cap = cap if parts == "whole" else None  # all items must be known to count them
        neighbours = within(
            codes.words, rows, radius, bits=bits, cap=row_cap, indexes=self.indexes, threads=self.threads
        )
        if parts == "all":
            neighbours = self._part_rows(where, len(codes)).within(codes.words, radius, neighbours, bits=bits, cap=cap)
        if self._drop_cut():
            return self.within(codes, radius, grain=grain, parts=parts, where=where, cap=cap)
        return neighbours

    def agreeing(
        self,
        outputs: NDArray[np.float32],
        k: int,
        *,
        grain: str,
        parts: PartsMode = "whole",
        where: NDArray[np.int64] | None = None,
    ) -> tuple[Reranked, Cost]:
        """The k items whose bits up to the grain agree best with real-valued outputs (bits,), each bit weighted by the
        size of its output; at equal scores by id. With "all" the best part of an item counts."""
        check_parts_mode(parts)
        if outputs.shape != (self.grains.bits,):
            raise CodesError(f"outputs of shape {outputs.shape} cannot be asked of codes with {self.grains}")
        compared = outputs[: self.grains.width(grain)]
        best, cost = agreeing(compared, self._rows(where, 1), k, threads=self.threads)
        return (best, cost) if parts == "whole" else self._part_rows(where, 1).agreeing(compared, k, best, cost)

    def join(self, radius: int, *, grain: str) -> Iterator[Pairs]:
        """Every pair of items at most `radius` apart, in chunks, in no order."""
        check_radius(radius, self.grains, grain)
        return join(self.segments, radius, bits=compared_bits(self.grains, grain), threads=self.threads)

    def _drop_cut(self) -> bool:
        """Drop indexes whose file was cut short while it was read; returns whether there were any."""
        sound, sound_parts = ([index for index in all if not index.cut()] for all in (self.indexes, self.part_indexes))
        any_cut = len(sound) < len(self.indexes) or len(sound_parts) < len(self.part_indexes)
        if any_cut:
            self.indexes, self.part_indexes = sound, sound_parts
        return any_cut

    def _rows(self, where: NDArray[np.int64] | None, questions: int) -> Sequence[Rows]:
        return self.segments if where is None else filter_rows(self.segments, where, questions)

    def _part_rows(self, where: NDArray[np.int64] | None, questions: int) -> PartRows:
        rows = self.part_segments if where is None else filter_rows(self.part_segments, where, questions, locate_parts)
        per_item = count_rows(self.part_segments) / max(1, count_rows(self.segments))
        return PartRows(rows, per_item, self.part_indexes, self.threads)


def compared_bits(grains: Grains, grain: str) -> int:
    """The number of bits to compare. Past the width of a code there are only zeros, so at the finest grain whole words
    are compared and both distances are equal; except for short codes, whose tables would have empty chunks."""
    width = grains.width(grain)
    short = width % CHUNK == 0 and width <= CHUNK * MAX_TABLES
    return 64 * grains.n_words if grain == grains.finest and not short else width
