"""The first of an order that may be in the answer: more neighbors are asked for until there are enough."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hashgrain.hamming import Neighbours

WIDENING = 8  # times as many neighbors, if those that were found are not enough
Mask = NDArray[np.bool_]


class Ranked(NamedTuple):
    """Neighbors, each of one of several codes; `of` has the number of that code."""

    neighbors: Neighbours
    of: NDArray[np.int64]


def of_one(neighbors: Neighbours) -> Ranked:
    return Ranked(neighbors, np.zeros(len(neighbors), np.int64))


def first_kept(
    ask: Callable[[int], Ranked], keep: Callable[[Ranked], Mask], k: int, items: int, *, more: int = 0
) -> Ranked:
    """The first k that are kept, in their order. `ask(n)` gives the first n of all `items`, or all if there are
    fewer; about `more` of them are not kept."""
    n = min(k + more, max(1, items))
    while True:
        ranked = ask(n)
        kept, is_all = np.flatnonzero(keep(ranked)), len(ranked.neighbors) < n or n >= items
        if len(kept) >= k or is_all:
            total = len(kept) if is_all else ranked.neighbors.total
            return Ranked(taken(ranked.neighbors, kept[:k], total), ranked.of[kept[:k]])
        n = min(items, n * WIDENING)


def taken(neighbors: Neighbours, rows: NDArray[np.int64], total: int) -> Neighbours:
    """Some of the neighbors, in this order."""
    return replace(
        neighbors,
        ids=neighbors.ids[rows],
        distances=neighbors.distances[rows],
        full=neighbors.full[rows],
        parts=None if neighbors.parts is None else neighbors.parts[rows],
        total=total,
    )
