"""Closer boxes for the first hits that were found by a part. Their pictures are looked at again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from hashgrain.codes import Codes
from hashgrain.errors import ImageError, QueryError
from hashgrain.library.query_codes import QueryEncoder
from hashgrain.media import open_picture
from hashgrain.models.closer_box import closer_box
from hashgrain.models.detail import Detail, detail_of
from hashgrain.search import Hit
from hashgrain.search.query import Query
from hashgrain.store import Store

FIRST = 10  # hits whose boxes are made closer
EDGE = 1024  # pixels of the query, either way, at most


def check_refine(query: Query) -> None:
    """Raise if the boxes of this query's hits cannot be made closer."""
    if query.of is None or isinstance(query.of, Codes):
        raise QueryError("boxes are refined by the pixels of a picture: ask with a picture or an item")
    if len(query.boxes) > 1 or query.turned:
        raise QueryError("boxes are refined for a picture, or one box of it, that is asked with as it is")


def refined_hits(hits: Sequence[Hit], query: Query, encoder: QueryEncoder, store: Store) -> list[Hit]:
    """The same hits in the same order; those of the first FIRST that have a box have a closer one. A hit whose picture
    cannot be read keeps its box, and so does one in a library whose parts another program made."""
    detail = detail_of(store.grid)
    boxed = [place for place, hit in enumerate(hits[:FIRST]) if hit.part is not None and hit.part.box is not None]
    refined = list(hits)
    if detail is None or not boxed:
        return refined
    features = _features(query, encoder)
    for place in boxed:
        refined[place] = _refined(hits[place], features, detail, query.max_pixels, encoder)
    return refined


def _features(query: Query, encoder: QueryEncoder) -> NDArray[np.float32]:
    """Those of the picture asked with, or of its box."""
    assert query.of is not None
    box = query.boxes[0] if query.boxes else None
    pixels = encoder.pixels(query.of, EDGE, query.max_pixels, box=box)
    sized = open_picture(pixels, size=encoder.encoder.bundle.size).pixels
    _, (features,) = encoder.encoder.outputs_and_features(sized[None])
    return np.asarray(features)


def _refined(hit: Hit, features: NDArray[np.float32], detail: Detail, max_pixels: int, encoder: QueryEncoder) -> Hit:
    assert hit.part is not None
    assert hit.part.box is not None
    left, top, right, bottom = hit.part.box
    look = detail.look_for(max(right - left, bottom - top))
    size = (look.edge, look.edge)
    try:
        pixels = encoder.pixels(hit.id, max(EDGE, look.edge), max_pixels)
    except ImageError:  # the file is gone, or damaged since it was added; its codes still answer
        return hit
    (cells,) = encoder.encoder.maps([open_picture(pixels, size=size).pixels], size)
    return replace(hit, part=replace(hit.part, box=closer_box(cells, features, hit.part.box)))
