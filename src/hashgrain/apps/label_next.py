"""Which pictures to label next: those whose label would teach most.

A label teaches the items near its own: each by the probability that the two belong together, beyond what the nearest
label known so far gives it, and the more the less confident the vote on that item is. Pictures are taken one by one,
each the one that teaches most after those before it (greedy facility location, Nemhauser et al., 1978). So they are
uncertain, lie where many others are, and are spread out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hashgrain.apps.labels import read_labels, usual_grain
from hashgrain.apps.votes import Voters, voters_of, weights_at
from hashgrain.codes import Codes
from hashgrain.errors import QueryError
from hashgrain.hamming import nearest, rows_of
from hashgrain.library import Library
from hashgrain.store import Item
from hashgrain.types import WhereLike

MOST_CANDIDATES = 10_000  # of more items without a label, so many, evenly spread, are looked at
TAUGHT = 100  # the nearest items that a label can teach
AT_ONCE = 2_048


@dataclass(frozen=True)
class ToLabel:
    """An item to label, and how many items its label would teach: a sum of probabilities."""

    item: Item
    teaches: float

    def as_dict(self) -> dict[str, Any]:
        return {"id": self.item.id, "path": self.item.path, "teaches": round(self.teaches, 4)}


def next_to_label(
    library: Library,
    key: str,
    count: int,
    *,
    k: int | None = None,
    grain: str | None = None,
    where: WhereLike | None = None,
) -> list[ToLabel]:
    """The `count` items without a label under `key` whose label would teach most, the most useful first.

    It needs no labels to begin with: then the items that are most like the others come first.
    """
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        raise QueryError(f"asked for {count!r} items to label; ask for 1 or more")
    grain = usual_grain(library, grain)
    labelled = read_labels(library, key, where=where)
    some = np.unique(np.linspace(0, len(labelled.others) - 1, min(len(labelled.others), MOST_CANDIDATES)).round())
    rows = some.astype(np.int64)
    if not len(rows):
        return []
    weights, codes = weights_at(library.bundle, grain), labelled.other_codes[rows]
    ids, distances = nearest_of(codes, codes, grain, TAUGHT)
    doubts, known = np.ones(len(codes)), np.zeros(len(codes))
    if len(labelled):
        known = known_of(labelled.codes, codes, grain, weights)
    if len(labelled) > 1:
        doubts = doubts_of(voters_of(labelled, library.bundle, grain, k), codes)
    picks = pick(ids, weights[distances], doubts, known, count)
    return [ToLabel(labelled.others[rows[place]], teaches) for place, teaches in picks]


def pick(
    near: NDArray[np.int64],
    alike: NDArray[np.float64],
    doubts: NDArray[np.float64],
    known: NDArray[np.float64],
    count: int,
) -> list[tuple[int, float]]:
    """Places of items, and what the label of each teaches after those before it.

    `near` has the places of the nearest items of each item, and `alike` the probability that they belong together;
    `known` is that of the nearest label, and `doubts` is 1 where nothing is known of an item's label.
    """
    known, picks = known.copy(), list[tuple[int, float]]()
    free = np.ones(len(near), np.bool_)
    for _ in range(min(count, len(near))):
        gains = (doubts[near] * np.maximum(0, alike - known[near])).sum(axis=1)
        place = int(np.argmax(np.where(free, gains, -1)))
        picks.append((place, float(gains[place])))
        free[place] = False
        known[near[place]] = np.maximum(known[near[place]], alike[place])
    return picks


def doubts_of(voters: Voters, codes: Codes) -> NDArray[np.float64]:
    """How far the vote on each code is from certain."""
    return np.array([1 - ballot[0].confidence for ballot in voters.ask(codes)])


def known_of(labelled: Codes, codes: Codes, grain: str, weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """The probability that each code belongs with its nearest labelled one."""
    return weights[nearest_of(codes, labelled, grain, 1)[1][:, 0]]


def nearest_of(codes: Codes, others: Codes, grain: str, k: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Of each code the rows and the distances of the k nearest of the others, or of all if there are fewer."""
    rows, bits = [rows_of(others.words)], codes.grains.width(grain)
    ids: list[Sequence[int]] = []
    distances: list[Sequence[int]] = []
    for start in range(0, len(codes), AT_ONCE):
        for near in nearest(codes.words[start : start + AT_ONCE], rows, min(k, len(others)), bits=bits):
            ids.append(near.ids.tolist())
            distances.append(near.distances.tolist())
    return np.array(ids, np.int64), np.array(distances, np.int64)
