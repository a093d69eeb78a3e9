"""Groups of codes at one grain, each around the code that represents it.

Codes are taken in an order. Each joins the group of the nearest representative before it, if that is within a radius,
and otherwise opens a group, which it represents. Among representatives at equal distance, the one that is nearer over
the whole code counts, then the earlier. So a representative comes first in its group, no two of them are within the
radius, and every other code is within it.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from hashgrain.codes import Words, prefix_mask
from hashgrain.hamming import nearest, rows_of, within

AT_ONCE = 1024  # codes that are compared in one call
NONE = -1
FAR = 1 << 62
FULL_BITS = 13  # of a key: no code is wider than 4096 bits
Ints = NDArray[np.int64]


def group_in_order(words: Words, bits: int, radius: int, threads: int | None = None) -> Ints:
    """For each code, the row of the one that represents its group, taking them in the order given.

    Each block of codes is compared with the representatives before it at once, and with those of its own block as they
    appear: as many comparisons as codes times groups.
    """
    leaders = np.empty(len(words), np.int64)
    opened = np.empty(0, np.int64)
    for low in range(0, len(words), AT_ONCE):
        block = words[low : low + AT_ONCE]
        before = rows_of(words[opened], opened)
        answers = nearest(block, [before], 1, bits=bits, radius=radius, threads=threads)
        found = [(each.ids[0], each.distances[0], each.full[0]) if len(each) else (NONE, 0, 0) for each in answers]
        near, apart, full = np.array(found, np.int64).T.copy()
        keys = np.where(near == NONE, FAR, _keys(apart, full))
        fresh = _open_groups(block, near, keys, low, bits, radius)
        opened = np.concatenate([opened, fresh])
        leaders[low : low + AT_ONCE] = near
    return leaders


def group_densest_first(
    words: Words,
    bits: int,
    radius: int,
    threads: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> Ints:
    """The same, but in the order of how many codes are within the radius, most first; then by code, then as given.

    So a code in the middle of many represents them, whatever the order in which they came (Butina, 1999). Every code is
    compared with every other.
    """
    counts = _counts_within(words, bits, radius, threads, progress)
    crowded = np.flatnonzero(counts > 1)  # the others neither represent nor join another
    order = crowded[np.lexsort((*words[crowded].T, -counts[crowded]))]
    leaders = np.arange(len(words))
    leaders[order] = order[group_in_order(words[order], bits, radius, threads)]
    return leaders


def _open_groups(block: Words, near: Ints, keys: Ints, low: int, bits: int, radius: int) -> Ints:
    """Open groups for the codes of a block that have no representative, in their order; those after them in the block
    join where that is nearer. `near` and `keys` are changed. Returns the rows of the new representatives."""
    mask = prefix_mask(bits, block.shape[1])
    fresh = []
    for at in range(len(block)):
        if near[at] != NONE:
            continue
        near[at] = low + at
        fresh.append(low + at)
        differing = block[at + 1 :] ^ block[at]
        apart = np.bitwise_count(differing & mask).sum(axis=1, dtype=np.int64)
        found = _keys(apart, np.bitwise_count(differing).sum(axis=1, dtype=np.int64))
        nearer = (apart <= radius) & (found < keys[at + 1 :])
        near[at + 1 :][nearer] = low + at
        keys[at + 1 :][nearer] = found[nearer]
    return np.array(fresh, np.int64)


def _keys(distances: Ints, full: Ints) -> Ints:
    """Numbers that order by distance, then by distance over the whole code."""
    return np.asarray((distances << FULL_BITS) + full)


def _counts_within(
    words: Words, bits: int, radius: int, threads: int | None, progress: Callable[[int], None] | None
) -> Ints:
    """How many codes are within the radius of each, itself included."""
    rows = [rows_of(words)]
    counts = np.empty(len(words), np.int64)
    for low in range(0, len(words), AT_ONCE):
        block = words[low : low + AT_ONCE]
        answers = within(block, rows, radius, bits=bits, cap=1, threads=threads)
        counts[low : low + AT_ONCE] = [each.total for each in answers]
        if progress:
            progress(low + len(block))
    return counts
