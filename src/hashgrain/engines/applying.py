"""Changes as rows: the rows there are without what changed, and new ones for the codes that came."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from hashgrain.codes import Words
from hashgrain.engines.filters import marked, places
from hashgrain.engines.part_rows import part_places, row_ids
from hashgrain.hamming import Rows, gather, rows_of
from hashgrain.hamming.rows import UNNUMBERED, unpacked

MOST_RUNS = 32  # of rows that came by changes, before they are laid together
Ids = NDArray[np.int64]


def changed_rows(segments: Sequence[Rows], codes: Mapping[int, Words | None]) -> list[Rows]:
    """The rows after each of these items has this code, or none. No index knows the new rows by number."""
    came = {item: code for item, code in sorted(codes.items()) if code is not None}
    words = np.stack([np.asarray(code, np.uint64) for code in came.values()]) if came else None
    return _changed(segments, np.array(sorted(codes), np.int64), np.array(list(came), np.int64), words, places)


def changed_part_rows(segments: Sequence[Rows], parts: Mapping[int, Words | None]) -> list[Rows]:
    """The rows of parts after each of these items has parts 1, 2, ... with these codes (n, n_words), or none."""
    came = {item: codes for item, codes in sorted(parts.items()) if codes is not None and len(codes)}
    words = np.concatenate([np.asarray(codes, np.uint64) for codes in came.values()]) if came else None
    ids = [row_ids(item, len(codes)) for item, codes in came.items()]
    items = np.array(sorted(parts), np.int64)
    return _changed(segments, items, np.concatenate([np.empty(0, np.int64), *ids]), words, part_places)


def _changed(
    segments: Sequence[Rows], items: Ids, ids: Ids, words: Words | None, find: Callable[[Rows, Ids], Ids]
) -> list[Rows]:
    """The rows without those that `find` finds of the items, and with new ones of these ids and words."""
    left = [_without(rows, find(rows, items)) for rows in segments]
    own = [rows for rows in left if rows.first_row == UNNUMBERED]
    if words is not None:
        own.append(rows_of(words, ids, first_row=UNNUMBERED))
    if len(own) > MOST_RUNS:
        own = [gather(own, [np.flatnonzero(unpacked(rows)) for rows in own])]
    return own + [rows for rows in left if rows.first_row != UNNUMBERED]  # in the order of first rows, as kernels want


def _without(rows: Rows, gone: Ids) -> Rows:
    if not len(gone):
        return rows
    alive = unpacked(rows)
    alive[gone] = False
    return marked(rows, np.flatnonzero(alive))
