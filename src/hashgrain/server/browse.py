"""The library as a tree to browse: kinds, the things in each, and their items.

A kind is named by the id of the item that represents it, a thing by that of its kind and its own: 12 and 12.17. So the
name of a group mostly stays when the library changes and the tree is made again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from hashgrain.apps.group_names import Names
from hashgrain.apps.scenes import scenes
from hashgrain.library import Library
from hashgrain.search.groups import Group
from hashgrain.server.computed import Computed, Version
from hashgrain.server.items import item_document, items_there
from hashgrain.server.jobs import Job
from hashgrain.server.paging import fingerprint, page_of
from hashgrain.server.problems import ProblemError
from hashgrain.store import Item

KEY = "scenes"
MOST_KINDS, MOST_THINGS = 1_000, 100  # that are listed, the largest
LIKE = "like "  # before the classes that a group is like


@dataclass(frozen=True)
class Tree:
    """The groups of a library by the ids of their items: the items themselves would take gigabytes."""

    items: int
    things: int
    groups: tuple[Group[int], ...]
    names: Names

    def name(self, group: Group[int]) -> str | None:
        return self.names.get((group.grain, group.representative))


@dataclass(frozen=True)
class _Numbered:
    id: int


def make_tree(library: Library, threads: int | None, progress: Callable[[int], None]) -> Tree:
    found = scenes(library, threads=threads, progress=progress)
    things = 0 if len(found.levels) < 2 else sum(len(kind.groups) for kind in found.groups)
    return Tree(found.items, things, tuple(map(_by_id, found.groups)), found.names)


def _by_id(group: Group[Item]) -> Group[int]:
    groups, others = tuple(map(_by_id, group.groups)), tuple(item.id for item in group.others)
    return Group(group.grain, group.representative.id, group.count, groups, others)


def scenes_answer(library: Library, computed: Computed) -> Version[Tree] | float:
    def make(own: Library, job: Job) -> Tree:
        job.total = len(own)
        return make_tree(own, computed.threads, job.reached)

    return computed.get(library, "scenes", KEY, make)


def scenes_document(library: Library, computed: Computed) -> tuple[int, dict[str, Any]]:
    """The tree, as status and JSON."""
    answer = scenes_answer(library, computed)
    if isinstance(answer, float):
        return making(answer)
    found = answer.value
    total = {"items": found.items, "kinds": len(found.groups), "things": found.things}
    kinds = [_kind(found, kind) for kind in found.groups[:MOST_KINDS]]
    return 200, {"version": answer.name, "kinds": kinds, "total": total}


def making(done: float) -> tuple[int, dict[str, Any]]:
    return 202, {"state": "making", "done": round(done, 3)}


def _kind(found: Tree, kind: Group[int]) -> dict[str, Any]:
    name = str(kind.representative)
    things = [_described(found, thing, f"{name}.{thing.representative}") for thing in kind.groups[:MOST_THINGS]]
    return {**_described(found, kind, name), "names": names_of(found, kind), "things": things}


def _described(found: Tree, group: Group[int], name: str) -> dict[str, Any]:
    return {"id": name, "name": found.name(group), "count": group.count, "item": group.representative}


def names_of(found: Tree, group: Group[int]) -> list[str]:
    """The names one by one, of a group that is like several classes."""
    name = found.name(group)
    return [] if name is None else name.removeprefix(LIKE).split(", ")


def scene_document(
    library: Library, computed: Computed, name: str, cursor: str | None, k: int
) -> tuple[int, dict[str, Any]]:
    """The items of a kind or a thing, page by page, as status and JSON."""
    answer = scenes_answer(library, computed)
    if isinstance(answer, float):
        return making(answer)
    group = _named(answer.value, name)
    members = [_Numbered(item) for item in group.items()]
    page, following = page_of(members, fingerprint([KEY, name]), cursor, k)
    items = items_there(library, [item.id for item in page])
    return 200, {"items": [item_document(item) for item in items.values()], "next": following}


def _named(found: Tree, name: str) -> Group[int]:
    groups: Sequence[Group[int]] = found.groups
    group: Group[int] | None = None
    for part in name.split("."):
        group = next((each for each in groups if str(each.representative) == part), None)
        if group is None:
            raise ProblemError(404, "scene_gone", "there is no such group, or no longer; ask for the tree again")
        groups = group.groups
    assert group is not None
    return group
