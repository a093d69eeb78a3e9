"""Groups of similar items, as a tree: kinds contain things, and things contain looks.

The tree is made from the finest grain up. Near copies are grouped first, each around one of them; then those that
represent these groups, at the next coarser grain; and so on. So near copies are never apart, and no group of a coarse
grain cuts one of a finer grain in two.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Literal, TypeVar

import numpy as np

from hashgrain.codes import Grains, Words
from hashgrain.errors import QueryError
from hashgrain.models import Bundle
from hashgrain.search.clustering import group_densest_first, group_in_order
from hashgrain.types import JsonLike

if TYPE_CHECKING:
    from hashgrain.search.hits import Hit

UNCALIBRATED = 8  # where a model says nothing, a radius is one bit in so many
Order = Literal["given", "densest"]
T = TypeVar("T")


@dataclass(frozen=True)
class Level:
    """A grain of the tree, and how many bits an item may differ there from the one that represents its group."""

    grain: str
    radius: int
    calibrated: bool  # whether the radius is a distance whose meaning the model knows

    def as_dict(self) -> dict[str, JsonLike]:
        """Return the level as a dictionary for JSON. The keys are stable."""
        return {"grain": self.grain, "radius": self.radius, "calibrated": self.calibrated}


@dataclass(frozen=True)
class Group(Generic[T]):
    """Similar items, one of which represents them.

    `groups` are those of the next finer grain inside it. A group of the finest grain has none; its `others` are the
    items that it holds besides the one that represents it.
    """

    grain: str
    representative: T
    count: int  # of items, however deep in the tree
    groups: tuple[Group[T], ...] = ()
    others: tuple[T, ...] = ()

    def items(self) -> tuple[T, ...]:
        """Return every item of the group."""
        if not self.groups:
            return (self.representative, *self.others)
        return tuple(item for group in self.groups for item in group.items())


def document_of(group: Group[Hit]) -> dict[str, JsonLike]:
    """A group of hits as a dictionary for JSON. The keys are stable."""
    return {
        "grain": group.grain,
        "count": group.count,
        "representative": group.representative.as_dict(),
        "groups": [document_of(finer) for finer in group.groups],
        "others": [hit.as_dict() for hit in group.others],
    }


def levels_of(bundle: Bundle, radii: Mapping[str, int] | None = None, finest: str | None = None) -> tuple[Level, ...]:
    """The grains of the tree, coarse to fine, down to the grain `finest`.

    A radius that is not given is the calibrated distance of a word: `same` at the finest grain of the model, `related`
    at the coarsest, `near` between them. Where the model has no such word, it is an eighth of the bits.
    """
    grains = bundle.grains if finest is None else bundle.grains.up_to(finest)
    radii = {} if radii is None else radii
    for grain in radii:
        if grain not in grains:
            raise QueryError(f"a radius is given for {grain!r}; the grains of the groups are {', '.join(grains)}")
    return tuple(_level(bundle, grain, radii.get(grain)) for grain in grains)


def _level(bundle: Bundle, grain: str, radius: int | None) -> Level:
    bits = bundle.grains[grain]
    if radius is None:
        calibrated = _calibrated(bundle, grain)
        return Level(grain, bits // UNCALIBRATED if calibrated is None else calibrated, calibrated is not None)
    whole = isinstance(radius, (int, np.integer)) and not isinstance(radius, bool)
    if not whole or not 0 <= radius <= bits:
        raise QueryError(f"the radius at {grain} is {radius!r}; it is a whole number of bits from 0 to {bits}")
    return Level(grain, int(radius), calibrated=False)


def _calibrated(bundle: Bundle, grain: str) -> int | None:
    """The distance up to which the word holds that makes a group at the grain."""
    word = _word_at(bundle.grains, grain)
    if grain in bundle.calibration:
        return bundle.calibration[grain].words.get(word)
    threshold = bundle.words.get(word)  # of a model that was calibrated once for all grains
    return None if threshold is None or threshold.grain != grain else threshold.distance


def _word_at(grains: Grains, grain: str) -> str:
    if grain == grains.finest:
        return "same"
    return "related" if grain == grains.coarsest else "near"


def tree(
    items: Sequence[T],
    words: Words,
    grains: Grains,
    levels: Sequence[Level],
    *,
    order: Order = "given",
    threads: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> tuple[Group[T], ...]:
    """The groups of the coarsest level, with those of the finer ones inside. `words` has the code of each item.

    In the order given, the first item of a group represents it, and groups come in the order of these. With the densest
    first, an item that is near to many others represents them, and the largest groups come first, those of equal size
    in the order of the items that represent them. `progress` is told how many items were compared at the finest level,
    which takes most of the time.
    """
    groups: dict[int, Group[T]] = {}  # by the row of the item that represents them
    for level in reversed(levels):
        rows = np.array(sorted(groups) if groups else range(len(items)), np.int64)
        compared = (words[rows], grains[level.grain], level.radius, threads)
        if order == "given":
            leaders = group_in_order(*compared)
        else:
            leaders = group_densest_first(*compared, progress if level is levels[-1] else None)
        members: dict[int, list[int]] = {}
        for row, leader in zip(rows.tolist(), rows[leaders].tolist(), strict=True):
            members.setdefault(leader, []).append(row)
        if groups:
            groups = {row: _joined(level.grain, row, inside, groups, order) for row, inside in members.items()}
        else:
            groups = {row: _finest(level.grain, row, inside, items) for row, inside in members.items()}
    return tuple(groups[row] for row in _shown(groups, groups, order))


def _finest(grain: str, leader: int, rows: Sequence[int], items: Sequence[T]) -> Group[T]:
    others = tuple(items[row] for row in rows if row != leader)
    return Group(grain, items[leader], len(rows), others=others)


def _joined(grain: str, leader: int, rows: Sequence[int], finer: Mapping[int, Group[T]], order: Order) -> Group[T]:
    groups = tuple(finer[row] for row in _shown(rows, finer, order))
    return Group(grain, finer[leader].representative, sum(group.count for group in groups), groups)


def _shown(rows: Iterable[int], groups: Mapping[int, Group[T]], order: Order) -> list[int]:
    """The rows of groups in the order in which the groups are shown."""
    if order == "given":
        return sorted(rows)
    return sorted(rows, key=lambda row: (-groups[row].count, row))
