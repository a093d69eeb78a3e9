"""The two row spaces of a library: whole codes, a row an item, and parts, a run of rows an item.

Both have the same files, blocks, counters and lists of dead rows, under names of their own. What works on one works on
the other, so functions of this room take the space that they are to work on.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

PART_BITS = 16  # of a row's id in the segments of parts; the item's id is above them
MAX_PARTS = (1 << PART_BITS) - 1  # of an item; they are counted from 1, since part 0 is the whole
MAX_ITEM = (1 << (63 - PART_BITS)) - 1  # the largest id of an item that can have parts


@dataclass(frozen=True)
class Space:
    """Names of one row space: its tables, its files, its counters."""

    name: str
    codes: str  # the table of live codes, an entry an item
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


def expanded(
    space: Space, rows: NDArray[np.int64], items: NDArray[np.int64], lengths: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Every row of these entries, and the id that it has in the segments."""
    if space is WHOLE:
        return rows, items
    within = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    return np.repeat(rows, lengths) + within, np.repeat((items << PART_BITS) + 1, lengths) + within
