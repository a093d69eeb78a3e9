"""A hit is a neighbor with its item, its distance at each grain and a plain word for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hashgrain.codes import Codes, Words
from hashgrain.errors import QueryError
from hashgrain.models import Bundle, Threshold
from hashgrain.search.calibration import calibrations_of
from hashgrain.search.scores import score_at
from hashgrain.store import Item
from hashgrain.types import JsonLike, Meta, Part, Verified

MAX_K = 1_000_000


@dataclass(frozen=True)
class Hit:
    """One search result. `distance` is the number of differing bits at the grain of the search; 0 is best."""

    id: int
    path: str
    distance: int
    grain: str
    distances: Mapping[str, int]  # at every grain
    word: str  # same, near, related or far; "" if the model is not calibrated
    score: float  # the probability that the two belong together, or, if that was not measured, the share of equal bits
    width: int | None  # None for what has none, such as a recording
    height: int | None
    format: str
    taken: str | None
    meta: Meta
    details: Meta  # what the file says about itself: camera, place, keywords
    part: Part | None = None  # the nearest part, if parts are searched; all distances are those of this part
    verified: Verified | None = None  # by local features, if that was asked for; None if this hit was not tried

    def as_dict(self) -> dict[str, JsonLike]:
        """Return the hit as a dictionary for JSON. The keys are stable."""
        own: dict[str, JsonLike] = {
            "distances": dict(self.distances),
            "meta": dict(self.meta),
            "details": dict(self.details),
        }
        own["part"] = None if self.part is None else self.part.as_dict()
        own["verified"] = None if self.verified is None else self.verified.as_dict()
        return {**vars(self), **own}


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
    """The closest word whose threshold holds, for a model that was calibrated once for all grains."""
    for word, threshold in thresholds.items():
        if distances[threshold.grain] <= threshold.distance:
            return word
    return "far" if thresholds else ""


def never_closer(words: Sequence[str]) -> list[str]:
    """The words of hits in the order shown: none is closer than the one before it."""
    ranks = {"same": 0, "near": 1, "related": 2, "far": 3, "": 3}
    shown: list[str] = []
    for word in words:
        shown.append(shown[-1] if shown and ranks[word] < ranks[shown[-1]] else word)
    return shown


def make_hits(
    query: Codes,
    items: Sequence[Item],
    codes: Words,
    grain: str,
    bundle: Bundle,
    parts: Sequence[Part] | None = None,
) -> list[Hit]:
    """Hits for items, in the order given. `codes` holds the code of each item, or that of its part in `parts`.
    `bundle` says what distances mean."""
    differing = Codes(codes ^ query.words[0], query.grains)
    columns = {name: np.bitwise_count(differing.at(name).words).sum(axis=1) for name in query.grains}
    return hits_at(columns, items, grain, bundle, parts)


def hits_at(
    columns: Mapping[str, NDArray[np.integer]],
    items: Sequence[Item],
    grain: str,
    bundle: Bundle,
    parts: Sequence[Part] | None = None,
) -> list[Hit]:
    """Hits for items whose distances are known at every grain, by its name."""
    all_distances = [{name: int(column[i]) for name, column in columns.items()} for i in range(len(items))]
    of_whole, of_part = calibrations_of(bundle, grain)
    numbers = [0] * len(items) if parts is None else [part.index for part in parts]
    calibrations = [of_part if number and of_part is not None else of_whole for number in numbers]
    words = [
        plain_word(distances, bundle.words) if calibration is None else calibration.word(distances[grain])
        for distances, calibration in zip(all_distances, calibrations, strict=True)
    ]
    if of_whole is None or parts is not None:
        words = never_closer(words)
    hits = []
    for place, (item, distances, word) in enumerate(zip(items, all_distances, words, strict=True)):
        apart, calibration = distances[grain], calibrations[place]
        hits.append(
            Hit(
                id=item.id,
                path=item.path,
                distance=apart,
                grain=grain,
                distances=distances,
                word=word,
                score=score_at(apart, bundle.grains[grain], calibration),
                width=item.width,
                height=item.height,
                format=item.format,
                taken=item.taken,
                meta=item.meta,
                details=item.details,
                part=None if parts is None else parts[place],
            )
        )
    return hits
