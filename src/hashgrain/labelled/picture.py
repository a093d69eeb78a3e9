"""What every source of labelled pictures gives, and what may be asked of it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

PARTS = frozenset(
    {"train", "training", "val", "valid", "validation", "test", "testing", "query", "database"}
)  # as publishers call them
SAME_PART = {"training": "train", "valid": "val", "validation": "val", "testing": "test"}
Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class LabelledPicture:
    """A picture, unopened, with a path of classes, or a set of labels, or labels at each grain by its name."""

    name: str  # where it stands below the place that was named
    read: Callable[[], bytes]
    part: str = ""
    path: tuple[str, ...] = ()  # classes from the root down
    labels: tuple[str, ...] | None = None  # or a set of labels, which may be empty
    grains: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # the labels of columns that were asked for
    box: Box | None = None  # x0, y0, x1, y1 of what is labelled, in pixels; may be empty


@dataclass(frozen=True)
class Wanted:
    """What a reader asks a source for, beyond its pictures."""

    grains: Sequence[str] = ()  # columns that name the labels of a grain
    unlabelled: bool = False  # pictures without a label as well; else they are an error


def same_part(part: str) -> str:
    """One name for a part that publishers call differently: train, val or test."""
    return SAME_PART.get(part.lower(), part.lower())


def part_of(file: Path) -> str:
    """The part that a file's name tells of: test.parquet, train-00-of-04.parquet, cats_val_003.tar; else none."""
    stem = file.name.partition(".")[0]
    numbered = re.fullmatch(r"(.+)-\d+-of-\d+", stem)  # as Hugging Face names the parts of its sets
    if numbered:
        return numbered[1]
    return next((word.lower() for word in re.split(r"[-_ ]", stem) if word.lower() in PARTS), "")
