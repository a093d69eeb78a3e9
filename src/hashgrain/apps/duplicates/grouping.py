"""Groups around the best copy: every member is near the one that is kept, so no chain joins pictures far apart.

Items come best first. An item that is near an item kept before it, and agrees with it, joins the nearest of those; any
other is kept. So each kept item is the best of its group, and the groups are the same whatever the order in which pairs
were found.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hashgrain.errors import QueryError
from hashgrain.hamming import Pairs

MAX_PAIRS = 20_000_000  # of different codes: half a gigabyte
TRIED = 5  # kept items, the nearest ones, that an item has to agree with one of
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


def around_best(
    codes: Sequence[int], near: Adjacency | None, agree: Callable[[int, int], bool] = lambda place, kept: True
) -> dict[int, list[int]]:
    """The members of each group by the place of the kept item. Both are places in the order best first.

    `codes` has the number of each item's code: equal codes, equal numbers. Without `near` only these are copies. An
    item of another code joins a kept one only if both `agree`.
    """
    kept_of_code: dict[int, int] = {}
    groups: dict[int, list[int]] = {}
    for place, code in enumerate(codes):
        joined = next(_nearest_kept(code, near, kept_of_code, place, agree), None)
        if joined is None:
            kept_of_code[code] = place
        else:
            groups.setdefault(joined, []).append(place)
    return groups


def _nearest_kept(
    code: int, near: Adjacency | None, kept_of_code: dict[int, int], place: int, agree: Callable[[int, int], bool]
) -> Iterator[int]:
    """The kept items that an item may join, the nearest first; of those equally near, the best."""
    if code in kept_of_code:
        yield kept_of_code[code]
    elif near is not None:
        known = sorted((apart, kept_of_code[other]) for other, apart in near.near(code) if other in kept_of_code)
        yield from (kept for _, kept in known[:TRIED] if agree(place, kept))
