"""The user's pictures: the grains that their labels teach, the validation split, and warnings about them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hashgrain.codes import Grains
from hashgrain.errors import TrainingError
from hashgrain.learn.data.grain_labels import GrainLabels
from hashgrain.learn.data.labelled import Listed, list_labelled
from hashgrain.learn.data.notices import unused_levels
from hashgrain.learn.data.part import TrainingPart

SHARE = 5  # at most one picture in so many of a class is held out
FEW = 5  # pictures of a class: smaller classes have none held out
NAMED = 3  # classes that a message names


@dataclass(frozen=True, eq=False)
class Chosen:
    """Pictures by content, without copies, with their labels; `validation` marks those that are held out."""

    contents: NDArray[np.str_]
    levels: Mapping[str, GrainLabels]
    validation: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.contents)

    def levels_of(self, rows: NDArray[np.bool_]) -> dict[str, GrainLabels]:
        return {grain: labels.take(rows) for grain, labels in self.levels.items()}


def taught_grains(grains: Grains) -> tuple[str, ...]:
    """The grains that labels teach: all but the finest, which identifies pictures; or the only one there is."""
    return tuple(grains)[:-1] or tuple(grains)


def list_pictures(place: Path, grains: Grains, only: TrainingPart | None = None) -> Listed:
    """The pictures of a place with the levels of their labels. A level that repeats a finer one is left out."""
    listed = list_labelled(place, taught_grains(grains), only=only)
    levels: dict[str, GrainLabels] = {}
    for grain, labels in reversed(list(listed.levels.items())):
        same = any(np.array_equal(labels.ids, finer.ids) for finer in levels.values())
        if labels.known.any() and not same:
            levels = {grain: labels, **levels}
    return dataclasses.replace(listed, levels=levels)


def choose(listed: Listed, opened: NDArray[np.bool_], held_out: int) -> Chosen:
    """The pictures that could be opened. Copies are merged: a picture under two labels gets both."""
    rows = np.flatnonzero(opened)
    contents, place = np.unique(listed.contents[rows], return_inverse=True)
    levels = {}
    for grain, labels in listed.levels.items():
        hot = np.zeros((len(contents), len(labels.names)), np.float32)
        np.maximum.at(hot, place, labels.hot(rows))
        levels[grain] = GrainLabels.of_hot(labels.names, hot)
    finest = levels[list(levels)[-1]]
    return Chosen(contents, levels, _validation_rows(finest, held_out))


def _validation_rows(labels: GrainLabels, held_out: int) -> NDArray[np.bool_]:
    """For each class the pictures whose content sorts first: `held_out` of them, or a fifth if that is fewer; never a
    picture with several labels."""
    validation = np.zeros(len(labels.ids), np.bool_)
    one = (labels.ids >= 0).sum(axis=1) == 1
    for number in range(len(labels.names)):
        own = np.flatnonzero((labels.ids == number).any(axis=1))
        validation[own[one[own]][: min(held_out, len(own) // SHARE)]] = True
    return validation


def check_enough(chosen: Chosen, place: Path) -> None:
    """Refuse data without two classes of at least two pictures."""
    labels = list(chosen.levels.values())[-1]
    counts = _counts(labels)
    if (counts >= 2).sum() < 2:
        raise TrainingError(
            f"{place} has {(counts >= 2).sum()} classes of two pictures or more; adapting takes at least two, and"
            f" begins to pay with {FEW} pictures of each"
        )


def warnings_of(chosen: Chosen, listed: Listed) -> Iterator[str]:
    """Warnings about these pictures, one line each."""
    labels = list(chosen.levels.values())[-1]
    counts = _counts(labels)
    if few := [labels.names[i] for i in np.flatnonzero(counts < FEW)]:
        yield f"classes of fewer than {FEW} pictures ({_some(few)}): bring more of each"
    if unused := unused_levels(listed.depth, list(chosen.levels)):
        yield f"{unused}: an adapted model keeps its grains; other recipes take grains of your own, one for each level"
    if unlabelled := int((~labels.known).sum()):
        yield f"{unlabelled:,} pictures without a label: they teach only what the model knows already"
    if not list(listed.levels.values())[-1].single:
        return  # in sets of labels, pictures share labels anyway
    hot = labels.hot(np.arange(len(labels.ids)))
    for a, b in np.argwhere(np.triu(hot.T @ hot, 1)):
        small, large = (a, b) if counts[a] <= counts[b] else (b, a)
        shared = int((hot[:, a] * hot[:, b]).sum())
        all_of_it = "all" if shared == counts[small] else f"{shared:,}"
        yield (
            f"{all_of_it} of the pictures of {labels.names[small]!r} are among those of {labels.names[large]!r} too,"
            " and are told apart by nothing; leave them in one of the two"
        )


def _counts(labels: GrainLabels) -> NDArray[np.int64]:
    return np.bincount(labels.ids[labels.ids >= 0], minlength=len(labels.names))


def _some(names: list[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
