"""The engine in this process: the scan over every segment of a snapshot."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from hashgrain.codes import Codes, Grains, Words
from hashgrain.errors import CodesError
from hashgrain.hamming import Neighbours, merge, nearest, within


class HasCodes(Protocol):
    """A run of codes with their ids and which of them are alive."""

    @property
    def ids(self) -> NDArray[np.int64]: ...
    @property
    def planes(self) -> tuple[NDArray[np.uint64], ...]: ...
    @property
    def alive(self) -> NDArray[np.bool_]: ...


Ask = Callable[[Words, Words, NDArray[np.int64], NDArray[np.bool_] | None], Neighbours]


class EmbeddedEngine:
    """Answers over the segments it was given; they do not change under it."""

    def __init__(self, segments: Sequence[HasCodes], grains: Grains) -> None:
        self.segments = segments
        self.grains = grains

    def nearest(self, codes: Codes, k: int, *, grain: str, where: NDArray[np.int64] | None = None) -> list[Neighbours]:
        """For each code the k nearest items."""
        bits = self.grains.width(grain)
        return self._ask(codes, where, k, lambda q, rows, ids, kept: nearest(q, rows, ids, k, bits=bits, alive=kept))

    def within(
        self, codes: Codes, radius: int, *, grain: str, where: NDArray[np.int64] | None = None
    ) -> list[Neighbours]:
        """For each code all items at most `radius` away."""
        bits = self.grains.width(grain)
        within(np.zeros(self.grains.n_words, np.uint64), *_nothing(self.grains), radius, bits=bits)  # checks radius
        return self._ask(
            codes, where, None, lambda q, rows, ids, kept: within(q, rows, ids, radius, bits=bits, alive=kept)
        )

    def _ask(self, codes: Codes, where: NDArray[np.int64] | None, k: int | None, ask: Ask) -> list[Neighbours]:
        if codes.grains != self.grains:
            raise CodesError(f"a query with {codes.grains} cannot be asked of codes with {self.grains}")
        parts = [(np.stack(each.planes, axis=1), each.ids, _kept(each, where)) for each in self.segments]
        return [merge([ask(query, *part) for part in parts], k) for query in codes.words]


def _kept(segment: HasCodes, where: NDArray[np.int64] | None) -> NDArray[np.bool_] | None:
    """Which rows may answer; None where all of them may, which is quicker."""
    if where is None:
        return None if segment.alive.all() else segment.alive
    if not len(where):
        return np.zeros(len(segment.ids), np.bool_)
    places = np.searchsorted(where, segment.ids).clip(max=len(where) - 1)
    kept: NDArray[np.bool_] = segment.alive & (where[places] == segment.ids)
    return kept


def _nothing(grains: Grains) -> tuple[Words, NDArray[np.int64]]:
    return np.empty((0, grains.n_words), np.uint64), np.empty(0, np.int64)
