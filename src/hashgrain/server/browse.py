"""The library as a tree to browse: kinds, the things in each, and their items.

A kind is named by the id of the item that represents it, a thing by that of its kind and its own: 12 and 12.17. So the
name of a group mostly stays when the library changes and the tree is made again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hashgrain.apps.scenes import Scenes, scenes
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


def make_scenes(library: Library, job: Job, threads: int | None = None) -> Scenes:
    job.total = len(library)
    return scenes(library, threads=threads, progress=job.reached)


def scenes_answer(library: Library, computed: Computed) -> Version[Scenes] | float:
    return computed.get(library, "scenes", KEY, lambda own, job: make_scenes(own, job, computed.threads))


def scenes_document(library: Library, computed: Computed) -> tuple[int, dict[str, Any]]:
    """The tree, as status and JSON."""
    answer = scenes_answer(library, computed)
    if isinstance(answer, float):
        return making(answer)
    found = answer.value
    things = 0 if len(found.levels) < 2 else sum(len(kind.groups) for kind in found.groups)
    total = {"items": found.items, "kinds": len(found.groups), "things": things}
    kinds = [_kind(found, kind) for kind in found.groups[:MOST_KINDS]]
    return 200, {"version": answer.name, "kinds": kinds, "total": total}


def making(done: float) -> tuple[int, dict[str, Any]]:
    return 202, {"state": "making", "done": round(done, 3)}


def _kind(found: Scenes, kind: Group[Item]) -> dict[str, Any]:
    name = str(kind.representative.id)
    things = [_described(found, thing, f"{name}.{thing.representative.id}") for thing in kind.groups[:MOST_THINGS]]
    return {**_described(found, kind, name), "names": names_of(found, kind), "things": things}


def _described(found: Scenes, group: Group[Item], name: str) -> dict[str, Any]:
    return {"id": name, "name": found.name(group), "count": group.count, "item": group.representative.id}


def names_of(found: Scenes, group: Group[Item]) -> list[str]:
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
    page, following = page_of(group.items(), fingerprint([KEY, name]), cursor, k)
    items = items_there(library, [item.id for item in page])
    return 200, {"items": [item_document(item) for item in items.values()], "next": following}


def _named(found: Scenes, name: str) -> Group[Item]:
    groups: Sequence[Group[Item]] = found.groups
    group: Group[Item] | None = None
    for part in name.split("."):
        group = next((each for each in groups if str(each.representative.id) == part), None)
        if group is None:
            raise ProblemError(404, "scene_gone", "there is no such group, or no longer; ask for the tree again")
        groups = group.groups
    assert group is not None
    return group
