"""Rows of parts: a row's id is that of its item and its part in one, and many rows are of one item."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from hashgrain.errors import QueryError
from hashgrain.hamming import Rows
from hashgrain.store.spaces import MAX_PARTS, PART_BITS

Which = Literal["whole", "all"]  # the parts of items that are asked: part 0 alone, or every one
Ids = NDArray[np.int64]


def check_which(parts: Which) -> None:
    if parts not in get_args(Which):
        raise QueryError(f"parts is {parts!r}; it is 'whole' or 'all'")


def items_of(ids: Ids) -> Ids:
    return ids >> PART_BITS


def parts_of(ids: Ids) -> Ids:
    return ids & MAX_PARTS


def row_ids(item: int, count: int) -> Ids:
    """The ids of the rows of an item's parts 1 to `count`."""
    return (item << PART_BITS) + np.arange(1, count + 1, dtype=np.int64)


def part_places(rows: Rows, items: Ids) -> Ids:
    """Which rows are of parts of these items, sorted, and alive."""
    ids = rows.ids
    if not len(ids) or not len(items):
        return np.empty(0, np.int64)
    if rows.ascending:
        some = items[
            np.searchsorted(items, ids[0] >> PART_BITS) : np.searchsorted(items, ids[-1] >> PART_BITS, "right")
        ]
        low = some << PART_BITS
        found = ranges(np.searchsorted(ids, low), np.searchsorted(ids, low | MAX_PARTS, "right"))
    else:
        found = np.flatnonzero(np.isin(items_of(ids), items))
    if rows.mask is None:
        return found
    alive = (rows.mask[found >> 3] >> (found & 7).astype(np.uint8)) & 1
    return np.asarray(found[alive.astype(np.bool_)])


def ranges(lows: Ids, highs: Ids) -> Ids:
    """The numbers from each low to before its high, one range after the other."""
    sizes = highs - lows
    ends = np.cumsum(sizes)
    numbers = np.arange(ends[-1] if len(ends) else 0, dtype=np.int64)
    return np.asarray(numbers + np.repeat(lows - (ends - sizes), sizes))


def count_rows(segments: Sequence[Rows]) -> int:
    return sum(len(rows.ids) for rows in segments)
