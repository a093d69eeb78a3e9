"""The labels of items, and the graded relevance of two items.

A **path** is one class, or classes from the root down (animal, feline, tabby): the grade of two items is the number of
levels on which their paths agree from the root. A **set** is any number of labels: the grade is the number of shared
labels. Grade 0 means not relevant.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hashgrain.codes import Words, pack
from hashgrain.errors import EvaluationError

MOST_LABELS = 4096
Grades = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Paths:
    """(n, depth) class numbers, from the root down; negative where a level is not known."""

    ids: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: slice | NDArray[np.int64] | NDArray[np.bool_]) -> Paths:
        return Paths(self.ids[index])

    @property
    def most_grades(self) -> int:
        return int(self.ids.shape[1])

    def grades(self, others: Paths) -> Grades:
        """(n, n others): the number of levels that agree from the root."""
        same = np.ones((len(self), len(others)), np.bool_)
        total = np.zeros((len(self), len(others)), np.int64)
        for mine, theirs in zip(self.ids.T, others.ids.T, strict=True):
            same &= (mine[:, None] == theirs[None]) & (mine[:, None] >= 0)
            total += same
        return total


@dataclass(frozen=True, eq=False)
class Sets:
    """Label sets as packed bits: (n, words)."""

    words: Words

    def __len__(self) -> int:
        return len(self.words)

    def __getitem__(self, index: slice | NDArray[np.int64] | NDArray[np.bool_]) -> Sets:
        return Sets(self.words[index])

    @property
    def sizes(self) -> NDArray[np.int64]:
        """The number of labels of each item."""
        return np.asarray(np.bitwise_count(self.words).sum(axis=1, dtype=np.int64))

    @property
    def most_grades(self) -> int:
        return max(1, int(self.sizes.max(initial=1)))

    def grades(self, others: Sets) -> Grades:
        """(n, n others): the number of shared labels."""
        total = np.zeros((len(self), len(others)), np.int64)
        for mine, theirs in zip(self.words.T, others.words.T, strict=True):
            total += np.bitwise_count(mine[:, None] & theirs[None])
        return total


Labels = Paths | Sets


def as_labels(values: Labels | ArrayLike, *, name: str = "labels") -> Labels:
    """Labels from an array: (n,) class numbers or names, (n, depth) paths, or (n, labels) zeros and ones.

    Integers in two or more columns are label sets if they are all 0 or 1, else paths.
    """
    if isinstance(values, (Paths, Sets)):
        return values
    table = np.asarray(values)
    if table.dtype.kind == "f":
        if not np.isfinite(table).all():
            raise EvaluationError(f"{name}: some are not numbers (NaN or infinite)")
        if (table != np.floor(table)).any():
            raise EvaluationError(f"{name}: labels are whole numbers")
    if table.dtype.kind in "fu" and (np.abs(table) >= 2.0**63).any():
        raise EvaluationError(f"{name}: labels are whole numbers below 2^63")
    if table.dtype.kind == "f":
        table = table.astype(np.int64)
    if table.dtype.kind in "US" and table.ndim == 1:
        table = _numbers_of(table)
    if table.dtype.kind not in "iub" or table.ndim not in (1, 2) or (table.ndim == 2 and not table.shape[1]):
        raise EvaluationError(
            f"{name}: {table.dtype} of shape {table.shape}; labels are (n,) class numbers, (n, depth) classes from"
            " the root down, or (n, labels) zeros and ones"
        )
    if table.ndim == 2 and (table.dtype.kind == "b" or (table.shape[1] > 1 and np.isin(table, (0, 1)).all())):
        if table.shape[1] > MOST_LABELS:
            raise EvaluationError(f"{name}: {table.shape[1]} labels, more than {MOST_LABELS}")
        return Sets(pack(table))
    return Paths((table[:, None] if table.ndim == 1 else table).astype(np.int64))


def _numbers_of(names: NDArray[Any]) -> NDArray[np.int64]:
    """A number for each name that does not depend on the other names: queries and database are numbered separately."""
    unique, places = np.unique(names, return_inverse=True)
    texts = [text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass") for text in unique.tolist()]
    numbers = [int.from_bytes(hashlib.sha256(text).digest()[:8], "little") >> 1 for text in texts]
    return np.array(numbers, np.int64)[places]


def sets_of(labels: Iterable[Sequence[int]], n_labels: int) -> Sets:
    """Label sets from lists of label numbers."""
    if n_labels > MOST_LABELS:
        raise EvaluationError(f"{n_labels} labels, more than {MOST_LABELS}")
    rows = list(labels)
    table = np.zeros((len(rows), n_labels), np.bool_)
    for row, numbers in zip(table, rows, strict=True):
        row[list(numbers)] = True
    return Sets(pack(table))
