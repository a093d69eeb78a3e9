"""A library as a tree to browse: kinds that contain things that contain looks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hashgrain.apps.group_names import Names, names_of
from hashgrain.codes import Codes
from hashgrain.library import Library
from hashgrain.library.selecting import select_ids
from hashgrain.search.groups import Group, Level, levels_of, tree
from hashgrain.store import Item

if TYPE_CHECKING:
    from hashgrain.types import JsonLike, WhereLike


@dataclass(frozen=True)
class Scenes:
    """The groups of a library, largest first, and what they are called where the model has words for it."""

    items: int
    levels: tuple[Level, ...]  # coarse to fine
    groups: tuple[Group[Item], ...]
    names: Names

    def name(self, group: Group[Item]) -> str | None:
        """Return what a group shows; None where the model has no word for it, or the group is a single item."""
        return self.names.get((group.grain, group.representative.id))

    def as_dict(self) -> dict[str, JsonLike]:
        """Return the tree as a dictionary for JSON. The keys are stable."""
        return {
            "items": self.items,
            "levels": [level.as_dict() for level in self.levels],
            "groups": [self._described(group) for group in self.groups],
        }

    def _described(self, group: Group[Item]) -> dict[str, JsonLike]:
        return {
            "grain": group.grain,
            "name": self.name(group),
            "count": group.count,
            "representative": _reference(group.representative),
            "groups": [self._described(finer) for finer in group.groups],
            "others": [_reference(item) for item in group.others],
        }


def scenes(
    library: Library,
    *,
    where: WhereLike | None = None,
    grain: str | None = None,
    radii: Mapping[str, int] | None = None,
    threads: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> Scenes:
    """Group the items of a library, or those that match a filter, down to `grain`: the finest, unless named.

    Near copies of one picture are a group of the finest grain. At each grain, an item that is near to many others
    represents a group, and the others join the nearest representative within a radius, see `Library.group`. The same
    items give the same groups, in whatever order they were added. Every item is compared with every other.
    """
    levels = levels_of(library.bundle, radii, grain)
    with library.store.snapshot() as snapshot:
        ids = select_ids(snapshot, library.path, None, where)
        items, words = snapshot.items(ids), snapshot.codes(ids)
    groups = tree(items, words, library.grains, levels, order="densest", threads=threads, progress=progress)
    names = names_of(library.bundle, levels, groups, items, Codes(words, library.grains))
    return Scenes(len(items), levels, groups, names)


def _reference(item: Item) -> dict[str, JsonLike]:
    return {"id": item.id, "path": item.path}
