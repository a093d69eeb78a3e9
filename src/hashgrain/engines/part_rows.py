"""Rows of parts: the id of a row combines its item and its part, and an item has many rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from hashgrain.errors import QueryError
from hashgrain.hamming import Rows
from hashgrain.store.spaces import MAX_PARTS, PART_BITS

PartsMode = Literal["whole", "all"]  # the parts of items to search: part 0 alone, or all
Ids = NDArray[np.int64]


def check_parts_mode(parts: PartsMode) -> None:
    if parts not in get_args(PartsMode):
        raise QueryError(f"parts is {parts!r}; it is 'whole' or 'all'")


def item_ids(ids: Ids) -> Ids:
    return ids >> PART_BITS


def part_numbers(ids: Ids) -> Ids:
    return ids & MAX_PARTS


def row_ids(item: int, count: int) -> Ids:
    """The ids of the rows of an item's parts 1 to `count`."""
    return (item << PART_BITS) + np.arange(1, count + 1, dtype=np.int64)


def locate_parts(rows: Rows, items: Ids) -> Ids:
    """The numbers of the rows of all parts of these sorted items, dead ones included."""
    ids = rows.ids
    if not rows.ascending:
        return np.flatnonzero(np.isin(item_ids(ids), items))
    first, last = ids[0] >> PART_BITS, ids[-1] >> PART_BITS
    low = items[np.searchsorted(items, first) : np.searchsorted(items, last, "right")] << PART_BITS
    return ranges(np.searchsorted(ids, low), np.searchsorted(ids, low | MAX_PARTS, "right"))


def ranges(lows: Ids, highs: Ids) -> Ids:
    """The numbers from each low up to, but not including, its high, one range after the other."""
    sizes = highs - lows
    ends = np.cumsum(sizes)
    numbers = np.arange(ends[-1] if len(ends) else 0, dtype=np.int64)
    return np.asarray(numbers + np.repeat(lows - (ends - sizes), sizes))


def count_rows(segments: Sequence[Rows]) -> int:
    return sum(len(rows.ids) for rows in segments)
