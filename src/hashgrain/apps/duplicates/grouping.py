"""Groups around the best copy: every member is near the one that is kept, so no chain joins pictures far apart.

Items come best first. An item that is near an item kept before it joins the nearest of those; any other is kept. So
the kept items are never near each other, each is the best of its group, and the groups are the same whatever the order
in which pairs were found.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hashgrain.errors import QueryError
from hashgrain.hamming import Pairs

MAX_PAIRS = 20_000_000  # of different codes: half a gigabyte
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Adjacency:
    """For each code, the codes near it and their distances: those of code c begin at `starts[c]`."""

    starts: Ints
    others: Ints
    distances: Ints

    def near(self, code: int) -> Iterator[tuple[int, int]]:
        place = slice(int(self.starts[code]), int(self.starts[code + 1]))
        return zip(self.others[place].tolist(), self.distances[place].tolist(), strict=True)


def adjacency(codes: int, chunks: Iterable[Pairs], within: int) -> Adjacency:
    """The pairs of a self join by code. So many that they do not fit into memory are an error."""
    taken: list[Pairs] = []
    count = 0
    for pairs in chunks:
        count += len(pairs)
        if count > MAX_PAIRS:
            raise QueryError(
                f"more than {MAX_PAIRS:,} pairs are at most {within} bits apart; ask for a smaller distance"
            )
        taken.append(pairs)
    nothing = np.empty(0, np.int64)
    one = np.concatenate([nothing, *(pairs.first for pairs in taken)])
    other = np.concatenate([nothing, *(pairs.second for pairs in taken)])
    apart = np.concatenate([nothing, *(pairs.distances.astype(np.int64) for pairs in taken)])
    source, target = np.concatenate([one, other]), np.concatenate([other, one])
    order = np.argsort(source, kind="stable")
    starts = np.searchsorted(source[order], np.arange(codes + 1))
    return Adjacency(starts, target[order], np.concatenate([apart, apart])[order])


def around_best(codes: Sequence[int], near: Adjacency | None) -> dict[int, list[int]]:
    """The members of each group by the place of the kept item. Both are places in the order best first.

    `codes` has the number of each item's code: equal codes, equal numbers. Without `near` only these are copies.
    """
    kept_of_code: dict[int, int] = {}
    groups: dict[int, list[int]] = {}
    for place, code in enumerate(codes):
        kept = _nearest_kept(code, near, kept_of_code)
        if kept is None:
            kept_of_code[code] = place
        else:
            groups.setdefault(kept, []).append(place)
    return groups


def _nearest_kept(code: int, near: Adjacency | None, kept_of_code: dict[int, int]) -> int | None:
    """The kept item nearest to a code; of those equally near, the best."""
    if code in kept_of_code or near is None:
        return kept_of_code.get(code)
    known = [(apart, kept_of_code[other]) for other, apart in near.near(code) if other in kept_of_code]
    return min(known)[1] if known else None
