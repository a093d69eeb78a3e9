"""Hits, verified: matched with the picture that was asked with, point by point, while there is time."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from hashgrain.codes import Codes
from hashgrain.errors import ImageError, QueryError
from hashgrain.media.local_features import EDGE, Features, Map, Registration, features_of, opencv, register
from hashgrain.search import Hit
from hashgrain.search.query import Query
from hashgrain.types import Box, Verified

if TYPE_CHECKING:
    from hashgrain.library.query_codes import QueryEncoder

SHORTLIST = 20  # hits that are tried at most
LEAST_SECONDS = 0.05  # for one hit: less time is as good as none
MIRROR = np.array([[-1.0, 0.0, 1.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
_MARGIN = 0.5  # around the part that matched, as a share of it, where the hit is looked at more closely


def check_verify(query: Query) -> None:
    """Raise where the hits of this query cannot be verified."""
    if query.of is None or isinstance(query.of, Codes):
        raise QueryError("hits are verified by the pixels of a picture: ask with a picture or an item")
    seconds = query.verify_seconds
    is_number = isinstance(seconds, (int, float)) and not isinstance(seconds, bool)
    if not is_number or not math.isfinite(seconds) or seconds <= 0:
        raise QueryError(f"verify_seconds is {seconds!r}; it is a number of seconds above 0")
    opencv()


def verified_hits(
    hits: Sequence[Hit], query: Query, encoder: QueryEncoder, clock: Callable[[], float] = time.monotonic
) -> list[Hit]:
    """The same hits in the same order, the first SHORTLIST with what matching found, as far as the time reaches.

    Hits that do not match as wholes, but were found by a part, are looked at again there, more closely.
    """
    deadline = clock() + query.verify_seconds
    views = _views_of_query(query, encoder)
    shown = list(hits)
    for closely in (False, True):
        for place, hit in enumerate(shown[:SHORTLIST]):
            box = _around(hit) if closely else None
            if closely and (box is None or hit.verified != Verified(0)):
                continue
            if deadline - clock() < LEAST_SECONDS:
                return shown
            found = _verified(hit, box, views, encoder, query.max_pixels, lambda: deadline - clock())
            if found is not None:
                shown[place] = replace(hit, verified=found)
    return shown


def _verified(
    hit: Hit,
    box: Box | None,
    views: Sequence[View],
    encoder: QueryEncoder,
    max_pixels: int,
    left: Callable[[], float],
) -> Verified | None:
    """What matching finds in a hit or a part of it; None if its picture cannot be read in the seconds that are left, or
    if they are over before anything is found."""
    try:
        picture = encoder.pixels(hit.id, EDGE, max_pixels, box=box, timeout=max(left(), LEAST_SECONDS))
    except ImageError:  # the file is gone, or damaged since it was added; its code still answers
        return None
    features = features_of(picture)
    best: Registration | None = None
    is_over = False
    for number, view in enumerate(views):
        is_over = number > 0 and left() < 0
        if is_over:
            break
        found = register(view.features, features)
        if found is not None and (best is None or found.inliers > best.inliers):
            best = replace(found, map=found.map @ view.placed)
    if best is None:
        return None if is_over else Verified(0)
    return Verified(best.inliers, (best if box is None else _moved(best, box)).outline)


@dataclass(frozen=True, eq=False)
class View:
    """A way to look at the picture asked with, and where its points lie in that, in fractions."""

    features: Features
    placed: Map


def _views_of_query(query: Query, encoder: QueryEncoder) -> list[View]:
    """The picture, or each of its boxes; and mirrored, too, if it is asked with turned."""
    assert query.of is not None
    views = []
    for box in query.boxes or (None,):
        pixels = encoder.pixels(query.of, EDGE, query.max_pixels, box=box)
        views.append(View(features_of(pixels, coarse=True), np.eye(3)))
        if query.turned:
            views.append(View(features_of(pixels[:, ::-1], coarse=True), MIRROR))
    return views


def _around(hit: Hit) -> Box | None:
    """The part that matched with a margin, or None for what was found by its whole."""
    if hit.part is None or hit.part.index == 0 or hit.part.box is None:
        return None
    left, top, right, bottom = hit.part.box
    wide, high = _MARGIN * (right - left), _MARGIN * (bottom - top)
    return max(0.0, left - wide), max(0.0, top - high), min(1.0, right + wide), min(1.0, bottom + high)


def _moved(registered: Registration, box: Box) -> Registration:
    """A registration with a part of a picture, in fractions of the whole picture."""
    left, top, right, bottom = box
    placed = np.array([[right - left, 0, left], [0, bottom - top, top], [0, 0, 1]])
    return replace(registered, map=placed @ registered.map)
