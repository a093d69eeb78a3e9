"""Whether two pictures with near codes are copies: the middle of one is looked for in the other, pixel by pixel.

Codes of different pictures of one kind of thing may be as near as those of copies: two butterflies with their wings
open. In a large library there are so many pairs that some are. Their pixels do not agree.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import product

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from PIL import Image

from hashgrain.errors import ImageError
from hashgrain.library import Library
from hashgrain.library.previews import workers_of
from hashgrain.store import Item

EDGE, MIDDLE = 48, 28  # pixels of a picture as it is compared, and of its middle
TURNS = (-8, 0, 8)  # degrees; a picture may have been straightened
SIZES = (38, 43, 48, 53, 60, 67)  # of the other picture: it may be a crop, or have a border
COARSE = 50  # from this size on, every second place is tried
LEAST = 0.88  # correlation of copies; how it was chosen is in docs/decisions/0026
FLAT = 3.0  # standard deviation, of 255 levels, below which there is nothing to compare
KEPT = 512  # pictures whose views stay in memory
THUMBNAIL = 128
Pixels = NDArray[np.float32]


class Comparing:
    """Compares pictures of a library by their thumbnails."""

    def __init__(self, library: Library) -> None:
        self._library = library
        self._middles = lru_cache(KEPT)(self._middles_of)
        self._places = lru_cache(4)(self._places_of)  # 5 MB each

    def agree(self, one: Item, other: Item) -> bool:
        """Whether the pixels of two items agree, mirrored or not. True where they cannot be compared."""
        if one.content == other.content:
            return True
        return any(self._found(a.id, b.id) for a, b in ((one, other), (other, one)))

    def _found(self, item: int, within: int) -> bool:
        middles, places = self._middles(item), self._places(within)
        if middles is None or places is None:
            return True
        return bool((middles @ places.T).max() >= LEAST)

    def _middles_of(self, item: int) -> Pixels | None:
        picture = self._picture(item)
        return None if picture is None else middles_of(picture)

    def _places_of(self, item: int) -> Pixels | None:
        picture = self._picture(item)
        return None if picture is None else places_of(picture)

    def _picture(self, item: int) -> Image.Image | None:
        """A small gray picture; None if the file is gone, or is the same all over. Workers decode the thumbnail, too:
        the folder that it is kept in may be a stranger's."""
        try:
            thumbnail = self._library.thumbnail(item, edge=THUMBNAIL)
            pixels = workers_of(self._library).shrunk(thumbnail, edge=THUMBNAIL, max_pixels=THUMBNAIL**2).pixels
        except ImageError:
            return None
        small = Image.fromarray(pixels).convert("L").resize((EDGE, EDGE), Image.Resampling.BOX)
        return small if np.asarray(small).std() >= FLAT else None


def middles_of(picture: Image.Image) -> Pixels:
    """The middle of a picture, turned and mirrored, as rows of mean 0 and length 1."""
    start = (EDGE - MIDDLE) // 2
    box = (start, start, start + MIDDLE, start + MIDDLE)
    rows = []
    for degrees, mirrored in product(TURNS, (False, True)):
        seen = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if mirrored else picture
        turned = seen.rotate(degrees, Image.Resampling.BILINEAR) if degrees else seen
        rows.append(np.asarray(turned.crop(box), np.float32).ravel())
    return _normal(np.stack(rows))


def places_of(picture: Image.Image) -> Pixels:
    """Every place of a picture in which the middle of another may lie, at several sizes, as such rows."""
    rows = []
    for size in SIZES:
        pixels = np.asarray(picture.resize((size, size), Image.Resampling.BILINEAR), np.float32)
        step = 2 if size >= COARSE else 1
        windows = sliding_window_view(pixels, (MIDDLE, MIDDLE))[::step, ::step]
        rows.append(windows.reshape(-1, MIDDLE * MIDDLE))
    return _normal(np.concatenate(rows))


def _normal(rows: Pixels) -> Pixels:
    rows = rows - rows.mean(axis=1, keepdims=True)
    lengths = np.sqrt(np.einsum("ij,ij->i", rows, rows))[:, None]
    normal: Pixels = np.divide(rows, lengths, out=np.zeros_like(rows), where=lengths > FLAT * MIDDLE)
    return normal
