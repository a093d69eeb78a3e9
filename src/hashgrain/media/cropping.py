"""Cropping a picture to a box, whose edges are fractions of the upright picture, or pixels if any is above 1."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from hashgrain.errors import ImageError

if TYPE_CHECKING:
    from hashgrain.types import Box

LEAST_EDGE = 8  # pixels: what is smaller shows nothing
ROUNDING = 0.5  # pixels that an edge may lie outside, since programs round


def fractions_of(box: Box, size: tuple[int, int], name: str) -> Box:
    """The box as fractions of a picture of this size. Raises ImageError if it does not fit."""
    width, height = size
    scale = (1.0, 1.0) if max(box) <= 1 else (float(width), float(height))
    left, top, right, bottom = (edge / scale[i % 2] for i, edge in enumerate(box))
    slack = (ROUNDING / width, ROUNDING / height)
    if min(left, top) < 0 or right > 1 + slack[0] or bottom > 1 + slack[1]:
        raise ImageError(f"{name}: the box {box_text(box)} reaches outside the picture of {width} x {height} pixels")
    right, bottom = min(right, 1.0), min(bottom, 1.0)
    if (right - left) * width < LEAST_EDGE or (bottom - top) * height < LEAST_EDGE:
        raise ImageError(
            f"{name}: the box {box_text(box)} holds {max(0.0, right - left) * width:.0f} x"
            f" {max(0.0, bottom - top) * height:.0f} pixels; a box is at least {LEAST_EDGE} pixels either way"
            + ("" if max(box) <= 1 else "; its edges are pixels, since one is above 1")
        )
    return left, top, right, bottom


def pixels_of(fractions: Box, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """The pixels of a box in a picture of any size, at least one."""
    left, right = _span(fractions[0], fractions[2], size[0])
    top, bottom = _span(fractions[1], fractions[3], size[1])
    return left, top, right, bottom


def wrong_box(box: Sequence[float]) -> str | None:
    """Why this cannot be a box of any picture; None if it can."""
    if isinstance(box, (str, bytes)) or not isinstance(box, Sequence) or len(box) != 4:
        return "a box is four numbers: left, top, right, bottom"
    numbers = all(isinstance(edge, (int, float)) and not isinstance(edge, bool) for edge in box)
    if not numbers or not all(map(math.isfinite, box)):
        return "a box is four numbers: left, top, right, bottom"
    if min(box) < 0:
        return "its edges are 0 or more"
    return None if box[0] < box[2] and box[1] < box[3] else "left is less than right, and top less than bottom"


def box_text(box: Sequence[float]) -> str:
    return ",".join(f"{edge:g}" for edge in box)


def _span(start: float, end: float, pixels: int) -> tuple[int, int]:
    first = min(round(start * pixels), pixels - 1)
    return first, max(first + 1, round(end * pixels))
