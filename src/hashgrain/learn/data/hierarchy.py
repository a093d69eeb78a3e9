"""The parent of each class, from the labels of the pictures."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from hashgrain.errors import TrainingError
from hashgrain.learn.data.grain_labels import GrainLabels


def parents_of(levels: Mapping[str, GrainLabels]) -> dict[str, NDArray[np.int64]]:
    """For each grain but the coarsest: the parent of each class, one grain up; -1 where no picture has both labels."""
    parents = {}
    for (above, coarse), (grain, fine) in itertools.pairwise(levels.items()):
        if coarse.names == fine.names and np.array_equal(coarse.ids, fine.ids):
            parents[grain] = np.arange(len(fine.names))  # sets of labels are the same at every grain
            continue
        kind, thing = coarse.only(), fine.only()
        both = (kind >= 0) & (thing >= 0)
        kind, thing = kind[both], thing[both]
        parent = np.full(len(fine.names), -1, np.int64)
        parent[thing] = kind
        odd = np.flatnonzero(parent[thing] != kind)
        if len(odd):
            name, one, other = thing[odd[0]], kind[odd[0]], parent[thing[odd[0]]]
            raise TrainingError(
                f"{fine.names[name]!r} stands under two classes of {above}, {coarse.names[one]!r} and"
                f" {coarse.names[other]!r}; give each {grain} one {above}"
            )
        parents[grain] = parent
    return parents
