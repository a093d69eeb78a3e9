"""Warnings about labels that make figures misleading, one line each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hashgrain.errors import TrainingError
from hashgrain.learn.data.grain_labels import GrainLabels
from hashgrain.learn.data.labelled import Labelled
from hashgrain.learn.data.splits import lonely_classes

NAMED = 5  # classes that a message names
MOST_CONTRADICTED = 0.2  # largest share of pictures that may be labelled with two contradicting classes


def notices(labelled: Labelled, validation: Labelled, grains: Sequence[str], place: Path) -> Iterator[str]:
    """Warnings about all pictures and labels, and about the validation set."""
    if lonely := lonely_classes(labelled):
        yield f"{len(lonely)} classes of one picture, which no figure evaluates: {_some(lonely)}"
    if message := unused_levels(labelled.depth, grains):
        yield message
    for grain, labels in validation.levels.items():
        alone = alone_in_validation(labels)
        if alone:
            yield (
                f"{len(alone)} classes have one picture in the validation set ({_some(alone)}): as a query it has"
                f" nothing to find and counts 0 in {grain} P@10 and {grain} mAP, whose `at most` shows the effect;"
                " bring more pictures of them, or set held_out= higher"
            )
    if message := under_two_classes(labelled.contents, labelled.levels, place):
        yield message


def unused_levels(depth: int, grains: Sequence[str]) -> str:
    """The levels of the labels that no grain learns, where there are more levels than grains."""
    if len(grains) < 2 or depth <= len(grains):  # a recipe of one grain is meant for one level
        return ""
    unused = depth - len(grains)
    levels = "level 1" if unused == 1 else f"levels 1 to {unused}"
    taught = ", ".join(f"{grain} learns level {unused + i + 1}" for i, grain in enumerate(grains))
    return (
        f"the labels have {depth} levels, and labels teach {len(grains)} grains ({', '.join(grains)}): {taught};"
        f" {levels}, the coarsest, teach nothing"
    ).replace("level 1, the coarsest, teach", "level 1, the coarsest, teaches")


def alone_in_validation(labels: GrainLabels) -> list[str]:
    """Classes with a single picture in the validation set."""
    counts = np.bincount(labels.ids[labels.ids >= 0], minlength=len(labels.names))
    return [labels.names[i] for i in np.flatnonzero(counts == 1)]


def under_two_classes(contents: NDArray[np.str_], levels: Mapping[str, GrainLabels], place: Path) -> str:
    """A line on how many single-label pictures appear under two classes; an error where they are many."""
    if not levels:
        return ""
    labels = list(levels.values())[-1]
    if not labels.single:
        return ""
    _, first, number = np.unique(contents, return_index=True, return_inverse=True)
    ids = labels.only()
    known = (ids >= 0) & (ids[first[number]] >= 0)
    other = known & (ids != ids[first[number]])
    twice = np.unique(number[other])
    if not len(twice):
        return ""
    rows = np.flatnonzero(other)
    pairs = {(labels.names[a], labels.names[b]) for a, b in zip(ids[first[number[rows]]], ids[rows], strict=True)}
    named = sorted({" and ".join(sorted(pair)) for pair in pairs})
    message = f"{len(twice):,} pictures are under two classes ({_some(named)})"
    if len(twice) > MOST_CONTRADICTED * len(first):
        raise TrainingError(
            f"{place}: {message}, of {len(first):,}: such labels contradict each other. Leave each picture in one"
            " class, or give sets of labels: a .csv list with `path` and `labels` joined by |"
        )
    return f"{message}: labels that contradict each other; leave each in one of the two"


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
