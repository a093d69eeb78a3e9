"""The twin of `_scan.c` in numpy: answers the same, slower, and is what the compiled one is tested against."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hashgrain.codes import Words, prefix_mask

RECORD = np.dtype([("id", np.int64), ("near", np.int32), ("full", np.int32)])


def scan(
    query: Words,
    words: Words,
    ids: NDArray[np.int64],
    alive: NDArray[np.bool_] | None,
    bits: int,
    k: int,
    radius: int,
) -> NDArray[np.void]:
    """The k nearest rows, or with k = 0 all within the radius, as records in the order of the house."""
    rows = np.arange(len(ids)) if alive is None else np.flatnonzero(alive)
    differing = words[rows] ^ query
    near = np.bitwise_count(differing & prefix_mask(bits, words.shape[1])).sum(axis=1, dtype=np.int32)
    if not k:
        inside = near <= radius
        rows, differing, near = rows[inside], differing[inside], near[inside]
    full = np.bitwise_count(differing).sum(axis=1, dtype=np.int32)
    order = np.lexsort((ids[rows], full, near))[: k or None]
    found = np.empty(len(order), RECORD)
    found["id"], found["near"], found["full"] = ids[rows][order], near[order], full[order]
    return found
