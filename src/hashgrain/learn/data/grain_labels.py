"""The labels of pictures at each grain: from paths, sets and columns to classes with numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hashgrain.errors import TrainingError
from hashgrain.labelled import LabelledPicture

RowSelector = NDArray[np.int64] | NDArray[np.bool_]
PictureLabels = tuple[str, ...] | None  # the labels of a picture at a grain; None where it has none


@dataclass(frozen=True, eq=False)
class GrainLabels:
    """The classes of n pictures at one grain."""

    names: tuple[str, ...]
    ids: NDArray[np.int32]  # (n, m): the classes of each picture, padded with -1; m = 1 where each picture has one

    @classmethod
    def of_hot(cls, names: tuple[str, ...], hot: NDArray[np.float32]) -> GrainLabels:
        """From (n, classes) zeros and ones."""
        most = max(1, int((hot > 0).sum(axis=1).max(initial=1)))
        ids = np.full((len(hot), most), -1, np.int32)
        rows, classes = np.nonzero(hot)
        place = np.arange(len(rows)) - np.searchsorted(rows, rows)
        ids[rows, place] = classes
        return cls(names, ids)

    def hot(self, rows: RowSelector) -> NDArray[np.float32]:
        """(len(rows), classes), 1 where a picture has a class."""
        ids = self.ids[rows]
        table = np.zeros((len(ids), len(self.names)), np.float32)
        row, column = np.nonzero(ids >= 0)
        table[row, ids[row, column]] = 1
        return table

    def take(self, rows: RowSelector) -> GrainLabels:
        return GrainLabels(self.names, self.ids[rows])

    @property
    def known(self) -> NDArray[np.bool_]:
        """Pictures that have a label."""
        return np.asarray((self.ids >= 0).any(axis=1), np.bool_)

    @property
    def single(self) -> bool:
        """Whether no picture has two labels."""
        return bool(((self.ids >= 0).sum(axis=1) <= 1).all())

    def only(self) -> NDArray[np.int64]:
        """The one class of each picture, -1 where it has none."""
        if not self.single:
            row = int(np.argmax((self.ids >= 0).sum(axis=1) > 1))
            several = ", ".join(self.names[i] for i in self.ids[row].tolist() if i >= 0)
            raise TrainingError(f"picture {row} has several labels ({several}), and this takes one class a picture")
        return np.asarray(self.ids.max(axis=1, initial=-1), np.int64)


def label_rows(
    pictures: Sequence[LabelledPicture], grains: Sequence[str], keep: bool
) -> list[tuple[PictureLabels, ...]]:
    """The labels of each picture at each grain."""
    by_column = any(picture.grains for picture in pictures)
    in_sets: bool | None = None
    rows = []
    for picture in pictures:
        row = _labels(picture, grains, by_column)
        if None in row and not keep:
            raise TrainingError(f"{picture.name} has no label at the grain {grains[row.index(None)]}")
        if not by_column and row and row[0] is not None:
            if in_sets not in (None, picture.labels is not None):
                raise TrainingError(
                    f"{picture.name} is labelled otherwise than the pictures before it: all need a set of labels, or"
                    " all need classes from the root down"
                )
            in_sets = picture.labels is not None
        rows.append(row)
    return rows


def check_levels(pictures: Sequence[LabelledPicture], grains: Sequence[str], place: str | Path) -> None:
    """Refuse pictures without a class for each grain, from their path or from columns."""
    named, few = ", ".join(grains), "put pictures deeper, or name fewer grains"
    for picture in pictures:
        if picture.grains or len(grains) < 2:
            continue
        if picture.labels is not None:
            raise TrainingError(f"{place} has sets of labels, which have no levels, and {named} take {len(grains)}")
        if picture.path and len(picture.path) < len(grains):
            raise TrainingError(
                f"{picture.name} of {place} has {len(picture.path)} levels ({'/'.join(picture.path)}), and {named} take"
                f" {len(grains)}: {few}"
            )


def depth_of(pictures: Sequence[LabelledPicture]) -> int:
    return max((len(picture.path) for picture in pictures if not picture.grains), default=0)


def levels_of(
    rows: Sequence[tuple[PictureLabels, ...]], grains: Sequence[str], place: str | Path
) -> Mapping[str, GrainLabels]:
    levels = {grain: _grain_labels([row[i] or () for row in rows]) for i, grain in enumerate(grains)}
    if grains and len(levels[grains[-1]].names) < 2:
        only = "".join(levels[grains[-1]].names) or "none"
        raise TrainingError(f"{place} holds one {grains[-1]} only ({only}); training takes two or more")
    return levels


def _labels(picture: LabelledPicture, grains: Sequence[str], by_column: bool) -> tuple[PictureLabels, ...]:
    if by_column:
        return tuple(picture.grains.get(grain) for grain in grains)
    if picture.labels is not None:
        return (picture.labels,) * len(grains)
    if not picture.path:
        return (None,) * len(grains)
    finer = len(picture.path) - len(grains)
    return tuple(("/".join(picture.path[: max(1, finer + i + 1)]),) for i in range(len(grains)))


def _grain_labels(column: Sequence[Sequence[str]]) -> GrainLabels:
    names = tuple(sorted({name for several in column for name in several}))
    number = {name: i for i, name in enumerate(names)}
    numbers = [sorted({number[name] for name in several}) for several in column]
    ids = np.full((len(numbers), max([1, *map(len, numbers)])), -1, np.int32)
    for row, several in zip(ids, numbers, strict=True):
        row[: len(several)] = several
    return GrainLabels(names, ids)
