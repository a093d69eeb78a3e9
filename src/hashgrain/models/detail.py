"""How closely a picture is looked at for its parts: at how many pixels, and through which windows.

The windows of a level n are a grid of n x n that overlap. How large the picture is matters more than how many windows
there are; how both were chosen, and what they cost, stands in docs/decisions/0023-parts-of-a-picture.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from hashgrain.errors import QueryError
from hashgrain.models.description import Window

OVERLAP = 0.4  # of neighboring windows


@dataclass(frozen=True)
class Detail:
    """A way of looking at pictures. Its name stands in the command line; a library knows it by its windows."""

    name: str
    edge: int  # pixels of the picture, either way
    levels: tuple[int, ...]

    @property
    def windows(self) -> tuple[Window, ...]:
        return windows(self.levels)


DETAILS = (
    Detail("low", 320, (2, 3, 4)),
    Detail("normal", 640, (2, 3, 4, 6)),
    Detail("high", 896, (2, 3, 4, 6, 8)),
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
