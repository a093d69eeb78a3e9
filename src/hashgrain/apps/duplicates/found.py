"""What was found: groups of copies around the one that is kept, and pictures that are a part of another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hashgrain.store import Item
from hashgrain.types import Part


@dataclass(frozen=True)
class Copy:
    """A copy of the kept picture of its group."""

    item: Item
    distance: int  # from the kept one, in bits at the grain
    same_bytes: bool  # whether the files are equal, byte by byte
    reason: str  # why the other is kept


@dataclass(frozen=True)
class Group:
    """Copies of one picture. Each is near the one that is kept; two of them may be farther from each other."""

    kept: Item
    reason: str  # why it is kept
    copies: tuple[Copy, ...]  # best first


@dataclass(frozen=True)
class PartOf:
    """A picture that another one shows in a part of itself, such as a crop."""

    item: Item
    whole: Item
    part: Part  # where
    distance: int  # between the code of the item and that of the part


@dataclass(frozen=True)
class Duplicates:
    """The duplicates of a library, and how they were found."""

    groups: tuple[Group, ...]  # by the id of the kept item
    parts: tuple[PartOf, ...]
    items: int  # that were compared
    grain: str
    word: str | None  # None where a distance was given instead
    within: int | None  # the largest distance from the kept copy; None for equal bytes
    parts_within: int | None  # of parts; None where they were not looked at
    keep: str  # by what the best copy is chosen

    @property
    def copies(self) -> Sequence[Copy]:
        """All copies that are not kept."""
        return [copy for group in self.groups for copy in group.copies]

    @property
    def bytes(self) -> int:
        """What the files of all copies take, as far as they are known."""
        return sum(copy.item.size or 0 for copy in self.copies)
