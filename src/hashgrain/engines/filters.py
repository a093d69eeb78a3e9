"""A filter's ids as rows: what the kernels are to look at, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from hashgrain.codes import Words
from hashgrain.hamming import Rows, Run, gather, packed

# Rows are gathered, which costs about as much as scanning 64 of them, or marked in a mask that the kernels read.
FEW = 1 / 64  # of all rows, for each question that will be asked of them
MOST = 1 / 8
MOST_GATHERED = 1 << 21  # a copy of their codes is made: of 128 bits, 50 MB


def keep(
    parts: Sequence[Rows],
    where: NDArray[np.int64],
    questions: int = 1,
    find: Callable[[Rows, NDArray[np.int64]], NDArray[np.int64]] | None = None,
) -> list[Rows]:
    """The rows of the items that `where`, sorted, names, for so many questions with this filter. `find` says which
    rows those are, where ids are not the items themselves."""
    found = [(find or places)(part, where) for part in parts]
    kept, rows = sum(map(len, found)), sum(len(part.ids) for part in parts)
    if kept <= min(MOST_GATHERED, min(MOST, FEW * questions) * rows):
        return [gather(parts, found)] if parts else []
    return [marked(part, at) for part, at in zip(parts, found, strict=True)]


def picked(parts: Sequence[Rows], where: NDArray[np.int64]) -> tuple[NDArray[np.int64], Words]:
    """The ids of `where`, sorted, that are there and alive, and their codes (n, n_words), as the rows stand."""
    if not parts:
        return np.empty(0, np.int64), np.empty((0, 1), np.uint64)
    found = gather(parts, [places(part, where) for part in parts])
    return found.ids, np.stack(found.planes, axis=1)


def places(part: Rows, where: NDArray[np.int64]) -> NDArray[np.int64]:
    """Which rows of a part are named and alive."""
    ids = part.ids
    if not len(ids) or not len(where):
        return np.empty(0, np.int64)
    if part.ascending:
        some = where[np.searchsorted(where, ids[0]) : np.searchsorted(where, ids[-1], "right")]
        if ids[-1] - ids[0] == len(ids) - 1:  # as adding leaves them: the id says where
            found = some - ids[0]
        else:
            at = np.searchsorted(ids, some)
            found = at[ids[at] == some]
    else:
        found = np.flatnonzero(np.isin(ids, where))
    if part.mask is None:
        return np.asarray(found)
    alive = (part.mask[found >> 3] >> (found & 7).astype(np.uint8)) & 1
    return np.asarray(found[alive.astype(np.bool_)])


def marked(part: Rows, at: NDArray[np.int64]) -> Run:
    """The rows with only those at these places alive."""
    kept = np.zeros(len(part.ids), np.bool_)
    kept[at] = True
    return Run(part.first_row, part.ids, part.planes, packed(kept), part.ascending)
