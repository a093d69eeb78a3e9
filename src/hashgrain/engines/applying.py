"""Changes as rows: the rows there are without what changed, and new ones for the codes that came."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from hashgrain.codes import Words
from hashgrain.engines.filters import marked, places
from hashgrain.hamming import Rows, gather, rows_of
from hashgrain.hamming.rows import UNNUMBERED, unpacked

MOST_RUNS = 32  # of rows that came by changes, before they are laid together


def changed_rows(parts: Sequence[Rows], codes: Mapping[int, Words | None]) -> list[Rows]:
    """The rows after each of these items has this code, or none. No index knows the new rows by number."""
    items = np.array(sorted(codes), np.int64)
    left = [_without(part, items) for part in parts]
    came = np.array([item for item in items.tolist() if codes[item] is not None], np.int64)
    if len(came):
        words = np.stack([np.asarray(codes[item], np.uint64) for item in came.tolist()])
        left.append(rows_of(words, came, first_row=UNNUMBERED))
    own = [part for part in left if part.first_row == UNNUMBERED]
    if len(own) <= MOST_RUNS:
        return left
    together = gather(own, [np.flatnonzero(unpacked(part)) for part in own])
    return [part for part in left if part.first_row != UNNUMBERED] + [together]


def _without(part: Rows, items: np.ndarray) -> Rows:
    gone = places(part, items)
    if not len(gone):
        return part
    alive = unpacked(part)
    alive[gone] = False
    return marked(part, np.flatnonzero(alive))
