"""The validation split, classes too small for it, and label noise."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from hashgrain.errors import TrainingError
from hashgrain.evaluate import flip_labels
from hashgrain.learn.data.grain_labels import GrainLabels
from hashgrain.learn.data.hierarchy import parents_of
from hashgrain.learn.data.labelled import Labelled

UNLABELLED_SHARE = 0.1  # held out where there are no classes


def hold_out(
    data: Labelled, per_class: int, grain: str | None = None, *, share: bool = False
) -> tuple[Labelled, Labelled]:
    """(training, validation), as `validation_rows` selects them. Copies of validation pictures are in neither.

    With `share`, a tenth of all pictures is held out where classes are too small for `per_class` of each.
    """
    if share and all(_largest_class(labels) <= per_class for labels in data.levels.values()):
        validation = validation_rows(dataclasses.replace(data, levels={}), per_class)
    else:
        validation = validation_rows(data, per_class, grain)
    return data.take(~np.isin(data.contents, data.contents[validation])), data.take(validation)


def validation_rows(data: Labelled, per_class: int, grain: str | None = None) -> NDArray[np.bool_]:
    """The mask of validation pictures: `per_class` of each class at the grain (by default the finest), those whose
    content hash sorts first.

    The split depends only on the pictures, not on their order or a seed. Every class keeps a training picture. Of
    pictures with several labels or none, the same share is held out regardless of their labels.
    """
    if per_class < 0:
        raise TrainingError(f"{per_class} pictures of each class cannot be held out; name 0 or more")
    validation = np.zeros(len(data), np.bool_)
    if not per_class:
        return validation
    if not data.levels:
        return _first_share(data.contents, np.ones(len(data), np.bool_), UNLABELLED_SHARE)
    grain = grain or list(data.levels)[-1]
    labels = data.levels[grain]
    counts = np.bincount(labels.ids[labels.ids >= 0], minlength=len(labels.names))
    if not counts.size or counts.max() <= per_class:
        raise TrainingError(
            f"every {grain} has at most {per_class} pictures: nothing would be left to train on; hold out fewer"
        )
    share = float(np.minimum(per_class, np.maximum(counts - 1, 0)).sum() / counts.sum())
    if labels.single:
        validation = _first_of_each(data.contents, labels.only(), per_class)
        return validation | _first_share(data.contents, ~labels.known, share)
    validation = _first_share(data.contents, np.ones(len(data), np.bool_), share)
    for wanted in np.flatnonzero(
        np.bincount(labels.ids[~validation][labels.ids[~validation] >= 0], minlength=len(counts)) == 0
    ):
        own = np.flatnonzero((labels.ids == wanted).any(axis=1))
        validation[own[np.argsort(data.contents[own])[-1:]]] = False
    return validation


def _largest_class(labels: GrainLabels) -> int:
    return int(np.bincount(labels.ids[labels.ids >= 0]).max(initial=0))


def lonely_classes(data: Labelled) -> list[str]:
    """Classes of one picture, by grain: they stay in training, and no figure evaluates them."""
    lonely = []
    for grain, labels in data.levels.items():
        counts = np.bincount(labels.ids[labels.ids >= 0], minlength=len(labels.names))
        lonely += [f"{grain} {labels.names[i]}" for i in np.flatnonzero(counts == 1)]
    return lonely


def mislabel(data: Labelled, share: float, seed: int) -> Labelled:
    """The same pictures with label noise: a share of the labelled ones gets another class of the finest grain and the
    parents of that class at the coarser grains."""
    grains = list(data.levels)
    parents = parents_of(data.levels)
    known = data.levels[grains[-1]].known
    column = data.levels[grains[-1]].only()
    column[known] = flip_labels(column[known], share, seed)
    levels = {}
    for grain in reversed(grains):
        labels = data.levels[grain]
        levels[grain] = GrainLabels(labels.names, column[:, None].astype(np.int32))
        if grain in parents:
            column = np.where(column >= 0, parents[grain][column], -1)
    return dataclasses.replace(data, levels={grain: levels[grain] for grain in grains})


def _first_of_each(contents: NDArray[np.str_], classes: NDArray[np.int64], per_class: int) -> NDArray[np.bool_]:
    """The first `per_class` of each class (none of class -1), but never all of a class."""
    order = np.lexsort((contents, classes))
    sorted_classes = classes[order]
    starts = np.flatnonzero(np.r_[True, sorted_classes[1:] != sorted_classes[:-1]])
    sizes = np.diff(np.r_[starts, len(order)])
    rank = np.arange(len(order)) - np.repeat(starts, sizes)
    validation = np.zeros(len(order), np.bool_)
    validation[order[rank < np.minimum(per_class, np.repeat(sizes, sizes) - 1)]] = True
    return validation & (classes >= 0)


def _first_share(contents: NDArray[np.str_], among: NDArray[np.bool_], share: float) -> NDArray[np.bool_]:
    """The contents that sort first, with all their copies, up to a share of all contents; never all of them."""
    distinct = np.unique(contents[among])
    return among & np.isin(contents, distinct[: min(round(share * len(distinct)), len(distinct) - 1)])
