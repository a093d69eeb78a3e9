"""Filtering rows by the ids of items, so that the kernels search only these rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from hashgrain.codes import Words
from hashgrain.engines.part_rows import Ids
from hashgrain.hamming import Rows, Run, gather, packed

Locate = Callable[[Rows, Ids], Ids]  # the numbers of the rows of these sorted items, dead ones included

# Few rows are gathered into a copy: a row costs about as much as scanning 64. Otherwise a mask marks them.
GATHER_SHARE = 1 / 64  # of all rows, for each query over them
MAX_GATHER_SHARE = 1 / 8
MAX_GATHERED_ROWS = 1 << 21  # the copy of their codes has 50 MB at 128 bits


def filter_rows(segments: Sequence[Rows], where: Ids, questions: int = 1, locate: Locate | None = None) -> list[Rows]:
    """The rows of the items in `where`, which is sorted, for so many queries with this filter. `locate` finds them if
    the ids of rows are not ids of items."""
    matches = [matching_rows(rows, where, locate) for rows in segments]
    n_matches, n_rows = sum(map(len, matches)), sum(len(rows.ids) for rows in segments)
    if n_matches <= min(MAX_GATHERED_ROWS, min(MAX_GATHER_SHARE, GATHER_SHARE * questions) * n_rows):
        return [gather(segments, matches)] if segments else []
    return [with_alive(rows, numbers) for rows, numbers in zip(segments, matches, strict=True)]


def select_codes(segments: Sequence[Rows], where: Ids) -> tuple[Ids, Words]:
    """The ids in `where`, which is sorted, that are alive, and their codes (n, n_words), in the order of the rows."""
    if not segments:
        return np.empty(0, np.int64), np.empty((0, 1), np.uint64)
    gathered = gather(segments, [matching_rows(rows, where) for rows in segments])
    return gathered.ids, np.stack(gathered.planes, axis=1)


def matching_rows(rows: Rows, where: Ids, locate: Locate | None = None) -> Ids:
    """The numbers of the rows of these sorted items that are alive."""
    if not len(rows.ids) or not len(where):
        return np.empty(0, np.int64)
    numbers = (locate or locate_items)(rows, where)
    if rows.mask is None:
        return np.asarray(numbers)
    alive = (rows.mask[numbers >> 3] >> (numbers & 7).astype(np.uint8)) & 1
    return np.asarray(numbers[alive.astype(np.bool_)])


def locate_items(rows: Rows, items: Ids) -> Ids:
    """The numbers of the rows of these sorted items, where an item has one row, whose id is its own."""
    ids = rows.ids
    if not rows.ascending:
        return np.flatnonzero(np.isin(ids, items))
    candidates = items[np.searchsorted(items, ids[0]) : np.searchsorted(items, ids[-1], "right")]
    if ids[-1] - ids[0] == len(ids) - 1:  # as adding leaves them: the id says where
        return np.asarray(candidates - ids[0])
    numbers = np.searchsorted(ids, candidates)
    return np.asarray(numbers[ids[numbers] == candidates])


def with_alive(rows: Rows, numbers: Ids) -> Run:
    """The rows, of which only those with these numbers are alive."""
    alive = np.zeros(len(rows.ids), np.bool_)
    alive[numbers] = True
    return Run(rows.first_row, rows.ids, rows.planes, packed(alive), rows.ascending)
