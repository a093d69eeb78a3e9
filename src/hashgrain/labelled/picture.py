"""Labelled pictures, which every source gives, and the options of sources."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

PARTS = frozenset(
    {"train", "training", "val", "valid", "validation", "test", "testing", "query", "database"}
)  # publishers' names
SAME_PART = {"training": "train", "valid": "val", "validation": "val", "testing": "test"}
Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class LabelledPicture:
    """A picture, not decoded, with a path of classes, or a set of labels, or labels by grain."""

    name: str  # its path below the source
    read: Callable[[], bytes]
    part: str = ""
    path: tuple[str, ...] = ()  # classes from the root down
    labels: tuple[str, ...] | None = None  # or a set of labels, which may be empty
    grains: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # labels from the requested columns
    box: Box | None = None  # x0, y0, x1, y1 of the labelled object, in pixels; may be empty


@dataclass(frozen=True)
class Wanted:
    """The options of a source."""

    grains: Sequence[str] = ()  # columns that name the labels of a grain
    unlabelled: bool = False  # allow pictures without a label, which else are an error


def same_part(part: str) -> str:
    """The common name of a part: train, val or test."""
    return SAME_PART.get(part.lower(), part.lower())


def part_of(file: Path) -> str:
    """The part in a file's name: test.parquet, train-00-of-04.parquet, cats_val_003.tar; "" if there is none."""
    stem = file.name.partition(".")[0]
    numbered = re.fullmatch(r"(.+)-\d+-of-\d+", stem)  # Hugging Face's names
    if numbered:
        return numbered[1]
    return next((word.lower() for word in re.split(r"[-_ ]", stem) if word.lower() in PARTS), "")
