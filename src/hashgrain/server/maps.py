"""The map of the library over HTTP: places of items, and where the kinds are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from hashgrain.apps.map_layout import map_layout
from hashgrain.library import Library
from hashgrain.server import browse
from hashgrain.server.browse import Tree, make_tree, making
from hashgrain.server.computed import Computed, Version
from hashgrain.server.jobs import Job
from hashgrain.server.problems import ProblemError

KEY = "map"
POINT = np.dtype([("id", "<u4"), ("x", "<f4"), ("y", "<f4")])
MOST_IDS = 2**32  # that a point can hold
MOST_KINDS = 200  # that are named, the largest
GROUPING = 0.2  # the share of the work that is grouping


@dataclass(frozen=True)
class Map:
    """The points of all items, those of a kind one after the other, and the kinds."""

    points: bytes
    count: int
    kinds: list[dict[str, Any]]


def map_document(library: Library, computed: Computed) -> tuple[int, dict[str, Any]]:
    """What is on the map, as status and JSON."""
    answer = computed.get(library, "map", KEY, lambda own, job: _make(own, job, computed))
    if isinstance(answer, float):
        return making(answer)
    return 200, {"version": answer.name, "points": answer.value.count, "kinds": answer.value.kinds}


def kept_map(computed: Computed, version: str | None) -> Version[Map]:
    """The map that was made last; 404 if it is not of this version."""
    kept = computed.kept(KEY)
    if kept is None or version not in (None, kept.name):
        raise ProblemError(404, "map_gone", "there is no such map, or no longer; ask for the map again")
    return kept


def _make(library: Library, job: Job, computed: Computed) -> Map:
    job.total = 100

    def grouped(own: Library, job: Job) -> Tree:
        items = max(1, len(own))
        return make_tree(own, computed.threads, lambda n: job.reached(int(100 * GROUPING * n / items)))

    found = computed.made(library, browse.KEY, grouped, job)
    codes, items = library.codes()
    rest = 1 - GROUPING
    places = map_layout(
        codes, threads=computed.threads, progress=lambda share: job.reached(int(100 * (GROUPING + rest * share)))
    )
    points = np.zeros(len(items), POINT)
    ids = np.array([item.id for item in items], np.int64)
    points["id"], points["x"], points["y"] = ids % MOST_IDS, places[:, 0], places[:, 1]
    row_of = {number: row for row, number in enumerate(ids.tolist()) if number < MOST_IDS}
    order: list[int] = []
    kinds: list[dict[str, Any]] = []
    for kind in found.groups:
        rows = [row_of.pop(item) for item in kind.items() if item in row_of]
        if rows and kind.count > 1 and len(kinds) < MOST_KINDS:
            x, y = np.median(places[rows], axis=0).tolist()
            named = {"id": str(kind.representative), "name": found.name(kind), "x": x, "y": y}
            kinds.append({**named, "count": len(rows), "start": len(order)})
        order += rows
    order += row_of.values()  # what was added while the kinds were made
    return Map(points[order].tobytes(), len(order), kinds)
