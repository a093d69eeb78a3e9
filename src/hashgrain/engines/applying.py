"""Applying changes to rows: rows of changed items die, and rows for new codes are added."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from hashgrain.codes import Words
from hashgrain.engines.filters import Locate, locate_items, matching_rows, with_alive
from hashgrain.engines.part_rows import Ids, locate_parts, row_ids
from hashgrain.hamming import Rows, gather, rows_of
from hashgrain.hamming.rows import UNNUMBERED, unpacked

MAX_NEW_RUNS = 32  # of rows from changes, before they are merged into one


def changed_rows(segments: Sequence[Rows], codes: Mapping[int, Words | None]) -> list[Rows]:
    """The rows after each of these items gets this code, or none. No index covers the new rows."""
    new_codes = {item: code for item, code in sorted(codes.items()) if code is not None}
    words = np.stack([np.asarray(code, np.uint64) for code in new_codes.values()]) if new_codes else None
    return _changed(
        segments, np.array(sorted(codes), np.int64), np.array(list(new_codes), np.int64), words, locate_items
    )


def changed_part_rows(segments: Sequence[Rows], parts: Mapping[int, Words | None]) -> list[Rows]:
    """The rows of parts after each of these items gets parts 1, 2, ... with these codes (n, n_words), or none."""
    new_codes = {item: codes for item, codes in sorted(parts.items()) if codes is not None and len(codes)}
    words = np.concatenate([np.asarray(codes, np.uint64) for codes in new_codes.values()]) if new_codes else None
    ids = [row_ids(item, len(codes)) for item, codes in new_codes.items()]
    items = np.array(sorted(parts), np.int64)
    return _changed(segments, items, np.concatenate([np.empty(0, np.int64), *ids]), words, locate_parts)


def _changed(segments: Sequence[Rows], items: Ids, ids: Ids, words: Words | None, locate: Locate) -> list[Rows]:
    """The rows without those of the items, and with new ones of these ids and words."""
    remaining = [_without(rows, matching_rows(rows, items, locate)) for rows in segments]
    new_runs = [rows for rows in remaining if rows.first_row == UNNUMBERED]
    if words is not None:
        new_runs.append(rows_of(words, ids, first_row=UNNUMBERED))
    if len(new_runs) > MAX_NEW_RUNS:
        new_runs = [gather(new_runs, [np.flatnonzero(unpacked(rows)) for rows in new_runs])]
    # In the order of first rows, as the kernels need.
    return new_runs + [rows for rows in remaining if rows.first_row != UNNUMBERED]


def _without(rows: Rows, removed: Ids) -> Rows:
    if not len(removed):
        return rows
    alive = unpacked(rows)
    alive[removed] = False
    return with_alive(rows, np.flatnonzero(alive))
