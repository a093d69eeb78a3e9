"""The answer of a search: the nearest items, their distances, and the cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

SearchPath = Literal["scan", "tables", "lists", "numpy", "database"]


@dataclass(frozen=True)
class PartsCost:
    """The same for the codes of parts, and how often they were asked for more of them."""

    path: SearchPath
    rows: int
    bytes: int
    widenings: int


@dataclass(frozen=True)
class Cost:
    """How an answer was found: by which path, how many rows were compared, how many bytes of codes were read."""

    path: SearchPath
    rows: int
    bytes: int
    parts: PartsCost | None = None  # where parts were asked, too


@dataclass(frozen=True)
class Neighbours:
    """Sorted by distance at the grain, then over the whole code, then id, then part."""

    ids: NDArray[np.int64]
    distances: NDArray[np.int32] | NDArray[np.float64]  # whole numbers, unless grains were weighted
    full: NDArray[np.int32]
    total: int  # how many there are: more than are here where `within` was capped
    cost: Cost
    parts: NDArray[np.int64] | None = None  # where parts were asked, too: the best of each item, 0 for the whole

    def __len__(self) -> int:
        return len(self.ids)


def merge(parts: Sequence[Neighbours], k: int | None = None, *, counted: bool = False) -> Neighbours:
    """Merge answers over different rows, in the same order, and cut them to the first k.

    With `counted`, the totals of the parts are added up.
    """
    if len(parts) == 1 and (k is None or len(parts[0]) <= k):
        return parts[0]
    ids = np.concatenate([part.ids for part in parts])
    distances = np.concatenate([part.distances for part in parts])
    full = np.concatenate([part.full for part in parts])
    order = np.lexsort((ids, full, distances))[:k]
    cost = Cost(parts[0].cost.path, sum(p.cost.rows for p in parts), sum(p.cost.bytes for p in parts))
    total = sum(part.total for part in parts) if counted else len(order)
    return Neighbours(ids[order], distances[order], full[order], total, cost)
