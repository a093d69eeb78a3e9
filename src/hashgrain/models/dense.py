"""The codes of any windows of one picture, from one map of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hashgrain.codes import Codes, Grains
from hashgrain.errors import ImageError
from hashgrain.media import Picture
from hashgrain.models.description import Window
from hashgrain.models.detail import side_of
from hashgrain.models.part_correction import corrected_each
from hashgrain.models.parts import Correction, Floats, PartEncoder, PartHead, pool

AT_ONCE = 256  # windows that run through the head together


@dataclass(frozen=True, eq=False)
class DenseMap:
    """A picture as the network sees it: its map, and what turns the mean of a window of it into a code.

    A window need not be one of the grid of parts. Its mean is corrected as those of the level whose windows are nearest
    to it in size.
    """

    cells: Floats  # (width, rows, columns)
    pixels: NDArray[np.uint8]  # of the small picture, for heads that take pixels
    levels: Sequence[int]
    head: PartHead
    correction: Correction

    @classmethod
    def of(cls, encoder: PartEncoder, picture: Picture, side: float) -> DenseMap:
        """The map of a picture that is open at both sizes of `encoder`: of its looks, the one for windows that have
        this share of the picture's width and height."""
        look = encoder.detail.look_for(side)
        cells = encoder.map(picture, look)
        width = len(cells)
        return cls(cells, picture.pixels, look.levels, encoder.head(width), encoder.correction(look, width))

    @property
    def grains(self) -> Grains:
        return self.head.grains

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of cells."""
        return self.cells.shape[1], self.cells.shape[2]

    def outputs(self, boxes: Sequence[Window]) -> Floats:
        """The real-valued outputs (boxes, bits) of windows."""
        parts = [self._outputs(boxes[start : start + AT_ONCE]) for start in range(0, len(boxes), AT_ONCE)]
        return np.concatenate(parts) if parts else np.empty((0, self.grains.bits), np.float32)

    def _outputs(self, boxes: Sequence[Window]) -> Floats:
        levels = [nearest_level(box, self.levels) for box in boxes]
        features = corrected_each(pool(self.cells[None], boxes)[0], levels, self.correction)
        (outputs,) = self.head.outputs_of_parts(features[None], self.pixels[None], boxes)
        return np.asarray(outputs, np.float32)

    def agreement(self, code: Codes, grain: str, side: float) -> Floats:
        """For each cell (rows, columns) the share of the bits up to a grain in which the window around it agrees with
        a code. A window has this share of the picture's width and height; at the edges it is moved inside."""
        if not 0 < side <= 1:
            raise ImageError(f"windows of {side!r} of a picture: it is a share, above 0 and at most 1")
        outputs = self.outputs(windows_around(self.shape, side))
        return equal_bits(outputs, code, grain).reshape(self.shape)


def equal_bits(outputs: Floats, code: Codes, grain: str) -> Floats:
    """The share (n,) of the bits up to a grain in which outputs (n, bits) agree with one code."""
    codes = Codes.from_outputs(outputs, code.grains).at(grain)
    differing = np.bitwise_count(codes.words ^ code.at(grain).words).sum(axis=1)
    return np.asarray(1 - differing / codes.grains.bits, np.float32)


def windows_around(shape: tuple[int, int], side: float) -> list[Window]:
    """A window around each cell of a map of so many rows and columns, row by row, inside the picture."""
    rows, columns = shape
    tops = [min(max(0.0, (row + 0.5) / rows - side / 2), 1 - side) for row in range(rows)]
    lefts = [min(max(0.0, (column + 0.5) / columns - side / 2), 1 - side) for column in range(columns)]
    return [(left, top, min(1.0, left + side), min(1.0, top + side)) for top in tops for left in lefts]


def nearest_level(box: Window, levels: Sequence[int]) -> int:
    """The level whose windows are nearest to a box in size, by the ratio of their areas."""
    side = math.log(math.sqrt((box[2] - box[0]) * (box[3] - box[1])))
    return min(levels, key=lambda level: abs(side - math.log(side_of(level))))
