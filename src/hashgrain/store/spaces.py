"""The two row spaces of a library: whole codes, one row per item, and parts, a run of rows per item.

Both have the same files, blocks, counters and lists of dead rows, under different names. So functions of this room take
the space that they work on.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

PART_BITS = 16  # low bits of a row's id in the segments of parts; the bits above are the item's id
MAX_PARTS = (1 << PART_BITS) - 1  # of an item; they are counted from 1, since part 0 is the whole
MAX_ITEM = (1 << (63 - PART_BITS)) - 1  # the largest id of an item that can have parts


@dataclass(frozen=True)
class Space:
    """Names of one row space: its tables, its files, its counters."""

    name: str
    codes: str  # the table of live codes, one entry per item
    blocks: str  # the table of blocks
    dead: str  # the table of entries that died
    length: str  # how many rows an entry has, as SQL
    prefix: str  # of the names of its segment files
    counter: str  # before the names of its counters


WHOLE = Space("whole", "rows", "blocks", "dead", "1", "", "")
PARTS = Space("parts", "parts", "part_blocks", "part_dead", "rows", "p", "part_")
SPACES = (WHOLE, PARTS)


def ids_of(space: Space, item: int, length: int) -> range:
    """The ids that the rows of an entry have in the segments."""
    first = item if space is WHOLE else (item << PART_BITS) + 1
    return range(first, first + length)


def expand_entries(
    space: Space, rows: NDArray[np.int64], items: NDArray[np.int64], lengths: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The numbers of all rows of these entries, and their ids in the segments."""
    if space is WHOLE:
        return rows, items
    offsets = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    return np.repeat(rows, lengths) + offsets, np.repeat((items << PART_BITS) + 1, lengths) + offsets
