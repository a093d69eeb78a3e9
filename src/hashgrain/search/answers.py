"""A hit is a neighbour told in full: which picture, how far at each grain, and a plain word for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hashgrain.codes import Codes, Words
from hashgrain.encoder import Threshold
from hashgrain.errors import QueryError
from hashgrain.store import Item

MAX_K = 1_000_000


@dataclass(frozen=True)
class Hit:
    """One answer. `distance` counts differing bits at the grain that was asked for; 0 is best."""

    id: int
    path: str
    distance: int
    grain: str
    distances: Mapping[str, int]  # at every grain
    word: str  # same, near, related or far
    score: float  # 1 where no bit differs, 0 where all do
    width: int
    height: int
    format: str
    taken: str | None
    meta: Mapping[str, Any]
    details: Mapping[str, Any]  # what the file says of itself: camera, place, keywords


def check_k(k: int | None) -> int:
    """How many hits to look for; None asks for all there may be."""
    if k is None:
        return MAX_K
    if isinstance(k, bool) or not isinstance(k, int) or k < 1:
        raise QueryError(f"k is {k!r}; ask for 1 hit or more")
    if k > MAX_K:
        raise QueryError(f"k is {k}; ask for at most {MAX_K:,} hits, or for all within a distance")
    return k


def plain_word(distances: Mapping[str, int], thresholds: Mapping[str, Threshold]) -> str:
    """The closest word whose threshold holds. The thresholds were calibrated when the model was trained."""
    for word, threshold in thresholds.items():
        if distances[threshold.grain] <= threshold.distance:
            return word
    return "far"


def answers(
    query: Codes, items: Sequence[Item], codes: Words, grain: str, thresholds: Mapping[str, Threshold]
) -> list[Hit]:
    """Hits for items in the order given; `codes` holds the code of each."""
    differing = Codes(codes ^ query.words[0], query.grains)
    columns = {name: np.bitwise_count(differing.at(name).words).sum(axis=1) for name in query.grains}
    hits = []
    for i, item in enumerate(items):
        distances = {name: int(column[i]) for name, column in columns.items()}
        hits.append(
            Hit(
                id=item.id,
                path=item.path,
                distance=distances[grain],
                grain=grain,
                distances=distances,
                word=plain_word(distances, thresholds),
                score=round(1 - distances[grain] / query.grains[grain], 4),
                width=item.width,
                height=item.height,
                format=item.format,
                taken=item.taken,
                meta=item.meta,
                details=item.details,
            )
        )
    return hits
