"""An engine in numpy with nothing to make it quick: what the contract suite holds the others against."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from hashgrain.codes import Codes, Grains
from hashgrain.errors import CodesError, QueryError
from hashgrain.hamming import Cost, Neighbours, Reranked
from hashgrain.store import Change

Ids = NDArray[np.int64]


class NumpyEngine:
    """Codes as rows of zeros and ones, by item."""

    def __init__(self, grains: Grains) -> None:
        self.grains = grains
        self.sequence = 0
        self.library = ""
        self.bits: dict[int, NDArray[np.uint8]] = {}

    def apply(self, changes: Iterable[Change]) -> None:
        for change in changes:
            if change.number <= self.sequence:
                continue
            self.bits.pop(change.item, None)
            if change.code is not None:
                self.bits[change.item] = Codes(change.code[None], self.grains).bits()[0]
            self.sequence = change.number

    def nearest(
        self, codes: Codes, k: int, *, grain: str, where: Ids | None = None, weights: Mapping[str, float] | None = None
    ) -> list[Neighbours]:
        if isinstance(k, bool) or k < 1:
            raise QueryError(f"k is {k!r}")
        counts = self._counts(grain, weights)
        return [self._sorted(query, where, counts, weights is not None).cut(k) for query in self._queries(codes)]

    def within(
        self, codes: Codes, radius: int, *, grain: str, where: Ids | None = None, cap: int | None = None
    ) -> list[Neighbours]:
        counts = self._counts(grain, None)
        if not 0 <= radius <= self.grains.width(grain):
            raise QueryError(f"a distance of {radius}")
        answers = []
        for query in self._queries(codes):
            found = self._sorted(query, where, counts, False)
            near = int((found.distances <= radius).sum())
            answers.append(found.cut(near if cap is None else min(near, cap), near))
        return answers

    def agreeing(
        self, outputs: NDArray[np.float32], k: int, *, grain: str, where: Ids | None = None
    ) -> tuple[Reranked, Cost]:
        if outputs.shape != (self.grains.bits,):
            raise CodesError(f"outputs of shape {outputs.shape}")
        sure = outputs[: self.grains.width(grain)].astype(np.float64)
        ids, bits = self._kept(where)
        scores = (bits[:, : len(sure)].astype(np.float64) * 2 - 1) @ sure / np.abs(sure).sum()
        order = np.lexsort((ids, -scores))[:k]
        return Reranked(ids[order], scores[order]), Cost("numpy", len(ids), 0)

    def close(self) -> None:
        self.bits = {}

    def _queries(self, codes: Codes) -> NDArray[np.uint8]:
        if codes.grains != self.grains:
            raise CodesError(f"a query with {codes.grains}")
        return codes.bits()

    def _kept(self, where: Ids | None) -> tuple[Ids, NDArray[np.uint8]]:
        ids = [item for item in sorted(self.bits) if where is None or item in where]
        bits = np.array([self.bits[item] for item in ids], np.uint8).reshape(len(ids), self.grains.bits)
        return np.array(ids, np.int64), bits

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

    def _sorted(
        self, query: NDArray[np.uint8], where: Ids | None, counts: NDArray[np.float64], weighted: bool
    ) -> _Sorted:
        ids, bits = self._kept(where)
        unlike = bits != query
        distances = unlike[:, : len(counts)] @ counts if len(ids) else np.empty(0)
        full = unlike.sum(axis=1, dtype=np.int32)
        order = np.lexsort((ids, full, distances))
        kind = np.float64 if weighted else np.int32
        return _Sorted(ids[order], distances[order].astype(kind), full[order])


class _Sorted:
    def __init__(self, ids: Ids, distances: NDArray, full: NDArray[np.int32]) -> None:
        self.ids, self.distances, self.full = ids, distances, full

    def cut(self, k: int, total: int | None = None) -> Neighbours:
        cost = Cost("numpy", len(self.ids), 0)
        ids = self.ids[:k]
        return Neighbours(ids, self.distances[:k], self.full[:k], len(ids) if total is None else total, cost)
