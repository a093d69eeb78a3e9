"""An engine in numpy with nothing to make it quick: what the contract suite holds the others against."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hashgrain.codes import Codes, Grains
from hashgrain.errors import CodesError, QueryError
from hashgrain.hamming import Cost, Neighbours, Reranked
from hashgrain.store import Change

Ids = NDArray[np.int64]
PartsMode = Literal["whole", "all"]


class NumpyEngine:
    """Codes as rows of zeros and ones, by item; those of its parts after the whole, by item, too."""

    def __init__(self, grains: Grains) -> None:
        self.grains = grains
        self.sequence = 0
        self.library = ""
        self.bits: dict[int, NDArray[np.uint8]] = {}
        self.part_bits: dict[int, NDArray[np.uint8]] = {}

    def apply(self, changes: Iterable[Change]) -> None:
        for change in changes:
            if change.number <= self.sequence:
                continue
            self.bits.pop(change.item, None)
            self.part_bits.pop(change.item, None)
            if change.code is not None:
                self.bits[change.item] = Codes(change.code[None], self.grains).bits()[0]
            if change.parts is not None:
                self.part_bits[change.item] = Codes(change.parts, self.grains).bits()
            self.sequence = change.number

    def nearest(
        self,
        codes: Codes,
        k: int,
        *,
        grain: str,
        parts: PartsMode = "whole",
        where: Ids | None = None,
        weights: Mapping[str, float] | None = None,
        part_radii: Sequence[int] | None = None,
    ) -> list[Neighbours]:
        if part_radii is not None and (weights is not None or len(part_radii) != len(codes)):
            raise QueryError("distances of parts: one for each code, and no weights")
        if isinstance(k, bool) or k < 1:
            raise QueryError(f"k is {k!r}")
        counts, kind = self._counts(grain, weights), np.float64 if weights is not None else np.int32
        rows = self._rows(parts, where)
        radii = [None] * len(codes) if part_radii is None else part_radii
        return [
            rows.nearby(query, counts, radius).sorted(query, counts, kind).cut(k, k, parts)
            for query, radius in zip(self._queries(codes), radii, strict=True)
        ]

    def within(
        self,
        codes: Codes,
        radius: int,
        *,
        grain: str,
        parts: PartsMode = "whole",
        where: Ids | None = None,
        cap: int | None = None,
    ) -> list[Neighbours]:
        counts = self._counts(grain, None)
        if not 0 <= radius <= self.grains.width(grain):
            raise QueryError(f"a distance of {radius}")
        answers = []
        for query in self._queries(codes):
            ranked = self._rows(parts, where).sorted(query, counts, np.int32)
            near = int((ranked.distances <= radius).sum())
            answers.append(ranked.cut(near if cap is None else min(near, cap), near, parts))
        return answers

    def agreeing(
        self,
        outputs: NDArray[np.float32],
        k: int,
        *,
        grain: str,
        parts: PartsMode = "whole",
        where: Ids | None = None,
    ) -> tuple[Reranked, Cost]:
        if outputs.shape != (self.grains.bits,):
            raise CodesError(f"outputs of shape {outputs.shape}")
        sure = outputs[: self.grains.width(grain)].astype(np.float64)
        rows = self._rows(parts, where)
        scores = (rows.bits[:, : len(sure)].astype(np.float64) * 2 - 1) @ sure / np.abs(sure).sum()
        order = first_of_each(rows.ids, np.lexsort((rows.parts, rows.ids, -scores)))[:k]
        best = rows.parts[order] if parts == "all" else None
        return Reranked(rows.ids[order], scores[order], best), Cost("numpy", len(rows.ids), 0)

    def close(self) -> None:
        self.bits, self.part_bits = {}, {}

    def _queries(self, codes: Codes) -> NDArray[np.uint8]:
        if codes.grains != self.grains:
            raise CodesError(f"a query with {codes.grains}")
        return codes.bits()

    def _rows(self, which: PartsMode, where: Ids | None) -> _Rows:
        if which not in ("whole", "all"):
            raise QueryError(f"parts is {which!r}")
        every = [(item, 0, self.bits[item]) for item in sorted(self.bits) if where is None or item in where]
        if which == "all":
            for item in [item for item, _, _ in every]:
                every += [(item, at, bits) for at, bits in enumerate(self.part_bits.get(item, ()), start=1)]
        items, parts = (np.array([row[column] for row in every], np.int64) for column in (0, 1))
        bits = np.array([row[2] for row in every], np.uint8).reshape(len(every), self.grains.bits)
        return _Rows(items, parts, bits)

    def _counts(self, grain: str, weights: Mapping[str, float] | None) -> NDArray[np.float64]:
        """What each bit of the prefix counts."""
        widths = self.grains.up_to(grain)
        if weights is not None and set(weights) != set(widths):
            raise QueryError(f"weights for {', '.join(weights)}")
        counts, low = np.empty(self.grains.width(grain)), 0
        for name, high in widths.items():
            counts[low:high] = 1 if weights is None else weights[name]
            low = high
        return counts


def first_of_each(ids: Ids, order: NDArray[np.int64]) -> NDArray[np.int64]:
    """The order without places of an id that came before."""
    first: dict[int, int] = {}
    for at in order.tolist():
        first.setdefault(int(ids[at]), at)
    return np.array([*first.values()], np.int64)


@dataclass
class _Rows:
    ids: Ids
    parts: Ids
    bits: NDArray[np.uint8]

    def nearby(self, query: NDArray[np.uint8], counts: NDArray[np.float64], radius: int | None) -> _Rows:
        """Wholes, and the parts at most so far."""
        if radius is None or not len(self.ids):
            return self
        distances = (self.bits != query)[:, : len(counts)] @ counts
        kept = (self.parts == 0) | (distances <= radius)
        return _Rows(self.ids[kept], self.parts[kept], self.bits[kept])

    def sorted(self, query: NDArray[np.uint8], counts: NDArray[np.float64], kind: type) -> _Sorted:
        unlike = self.bits != query
        distances = unlike[:, : len(counts)] @ counts if len(self.ids) else np.empty(0)
        full = unlike.sum(axis=1, dtype=np.int32)
        order = first_of_each(self.ids, np.lexsort((self.parts, self.ids, full, distances)))
        return _Sorted(self.ids[order], self.parts[order], distances[order].astype(kind), full[order])


@dataclass
class _Sorted:
    """The items in order, each by its nearest part."""

    ids: Ids
    parts: Ids
    distances: NDArray[np.generic]
    full: NDArray[np.int32]

    def cut(self, k: int, total: int, which: PartsMode) -> Neighbours:
        cost = Cost("numpy", len(self.ids), 0)
        parts = self.parts[:k] if which == "all" else None
        total = min(total, len(self.ids))
        return Neighbours(self.ids[:k], self.distances[:k], self.full[:k], total, cost, parts)
