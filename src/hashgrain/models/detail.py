"""The detail of the parts of a picture: at how many pixels the network sees it, and which windows it is divided into.

The windows of a level n are a grid of n x n that overlap. The network sees a picture at one or two sizes: a large
window is described better from fewer pixels, a small one from more. How both were chosen, and what they cost, is in
docs/decisions/0023-parts-of-a-picture.md.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from hashgrain.errors import QueryError
from hashgrain.models.description import Window

OVERLAP = 0.4  # of neighboring windows


@dataclass(frozen=True)
class Look:
    """The picture at one size, and the levels of windows that are read off it."""

    edge: int  # pixels of the picture, either way
    levels: tuple[int, ...]

    @property
    def windows(self) -> tuple[Window, ...]:
        return windows(self.levels)


@dataclass(frozen=True)
class Detail:
    """A detail by its name; a library knows it by its windows, which are those of its looks in order."""

    name: str
    looks: tuple[Look, ...]

    @property
    def edge(self) -> int:
        """Pixels of the picture at the largest size, either way."""
        return max(look.edge for look in self.looks)

    @property
    def windows(self) -> tuple[Window, ...]:
        return tuple(window for look in self.looks for window in look.windows)

    def look_for(self, side: float) -> Look:
        """The look with the windows nearest in size to one that has this share of the picture's width and height."""
        return min(self.looks, key=lambda look: min(abs(math.log(side / side_of(level))) for level in look.levels))


DETAILS = (
    Detail("low", (Look(320, (2, 3, 4)),)),
    Detail("normal", (Look(320, (2,)), Look(640, (3, 4, 6)))),
    Detail("high", (Look(448, (2, 3)), Look(896, (4, 6, 8)))),
)
DEFAULT = "normal"


def detail_named(name: str) -> Detail:
    for detail in DETAILS:
        if detail.name == name:
            return detail
    raise QueryError(f"there is no detail {name!r}; there are {', '.join(each.name for each in DETAILS)}")


def detail_of(grid: Sequence[Sequence[float]] | None) -> Detail | None:
    """The detail whose windows these are; None where they are those of none."""
    boxes = None if grid is None else tuple(map(tuple, grid))
    return next((detail for detail in DETAILS if detail.windows == boxes), None)


def side_of(level: int, overlap: float = OVERLAP) -> float:
    """Of the windows of a level, as a share of the picture's."""
    return 1 / (1 + (level - 1) * (1 - overlap))


@cache
def windows(levels: tuple[int, ...], overlap: float = OVERLAP) -> tuple[Window, ...]:
    """The parts of a picture, without the whole: for each level n a grid of n x n windows that overlap."""
    boxes = []
    for n in levels:
        size = side_of(n, overlap)
        step = (1 - size) / (n - 1) if n > 1 else 0.0
        starts = [i * step for i in range(n)]
        boxes += [(x, y, min(1.0, x + size), min(1.0, y + size)) for y in starts for x in starts]
    return tuple(boxes)
