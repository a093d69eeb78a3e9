"""From a row to a labelled picture: the rules that lists, tables, shards and saved datasets share."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hashgrain.errors import SourceError
from hashgrain.labelled.picture import Box, LabelledPicture, Wanted
from hashgrain.sources.tables import COLUMNS

LABELS = ("label", "labels", "fine_label", "coarse_label")
KNOWN = frozenset(
    {"path", "part", "box", *LABELS, *COLUMNS}
)  # columns with a fixed meaning, which are not names of grains
TableRow = Mapping[str, Any]


def grain_columns(wanted: Wanted) -> list[str]:
    return [grain for grain in wanted.grains if grain not in KNOWN]


def is_missing(value: Any) -> bool:
    """Whether a cell is empty, in CSV, JSON or dataframes."""
    return value is None or value == "" or (isinstance(value, float) and math.isnan(value))


def picture_of(
    name: str,
    read: Callable[[], bytes],
    row: TableRow,
    wanted: Wanted,
    *,
    path: Sequence[Any] = (),
    labels: Sequence[Any] | None = None,
    part: str = "",
    complaint: str,
) -> LabelledPicture:
    """The row gives labels by grain, part and box; its source reads `path` or `labels`. `complaint` is the error for a
    row without a label."""
    grains = {
        grain: _several(row[grain], f"{name}, {grain}")
        for grain in grain_columns(wanted)
        if not is_missing(row.get(grain))
    }
    if not path and labels is None and not grains and not wanted.unlabelled:
        raise SourceError(complaint)
    if not is_missing(row.get("part")):
        part = str(row["part"])
    label_set = None if labels is None else tuple(map(str, labels))
    return LabelledPicture(name, read, part, tuple(map(str, path)), label_set, grains, _box(row.get("box"), name))


def _several(value: Any, where: str) -> tuple[str, ...]:
    """One label, or several in a list or joined by |."""
    values = value if isinstance(value, list) else str(value).split("|") if isinstance(value, str) else [value]
    if not all(isinstance(each, (str, int, float)) for each in values):
        raise SourceError(f"{where}: {value!r} is neither a label nor a list of labels")
    return tuple(str(each) for each in values if not is_missing(each))


def _box(value: Any, name: str) -> Box | None:
    """Four numbers x0, y0, x1, y1: a list, or a text with commas or blanks between them."""
    if is_missing(value):
        return None
    try:
        if isinstance(value, str):
            value = json.loads("[" + ",".join(value.strip(" []()").replace(",", " ").split()) + "]")
        x0, y0, x1, y1 = (float(each) for each in value)
    except (ValueError, TypeError, OverflowError, RecursionError):
        raise SourceError(f"{name}: the box is {str(value)[:80]!r}; a box is x0, y0, x1, y1 in pixels") from None
    if not (math.isfinite(x0 + y0 + x1 + y1) and x0 <= x1 and y0 <= y1):
        raise SourceError(f"{name}: the box {x0:g}, {y0:g}, {x1:g}, {y1:g} has its second corner before its first")
    return x0, y0, x1, y1
