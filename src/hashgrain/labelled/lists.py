"""Lists of pictures in a .csv or .jsonl file, one row per picture."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from hashgrain.errors import SourceError
from hashgrain.labelled.picture import PARTS, LabelledPicture, Wanted, part_of
from hashgrain.labelled.rows import TableRow, grain_columns, picture_of
from hashgrain.sources.source import read_capped

ENDINGS = {".csv", ".jsonl"}
NAMES = {"manifest", "metadata", *PARTS}  # of lists in a folder: other lists may be beside folders of classes


def is_list(file: Path) -> bool:
    return file.suffix.lower() in ENDINGS


def lists_in(folder: Path) -> list[Path]:
    """manifest.csv, metadata.jsonl, or one list per part: train.csv, test.csv."""
    return sorted(file for file in folder.iterdir() if is_list(file) and file.stem.lower() in NAMES)


def list_pictures(file: Path, wanted: Wanted) -> Iterator[LabelledPicture]:
    """Rows have `path`, and `label` (a class, or classes from the root down joined by /) or `labels` (a set, joined
    by |, or a JSON list), or a column for each grain, and optionally `part` and `box`. Paths are relative to the list.
    """
    part = part_of(file)
    for number, row in _rows(file):
        if not row.get("path"):
            raise SourceError(f"{file}, row {number}: no path; rows take path, and label or labels", path=file)
        label, labels = row.get("label"), row.get("labels")
        path: list[str] = []
        if labels is not None:
            labels = labels if isinstance(labels, list) else [each for each in str(labels).split("|") if each]
        elif label not in (None, "", []):
            path = label if isinstance(label, list) else str(label).split("/")
        columns = "".join(f", nor {grain}" for grain in grain_columns(wanted))
        yield picture_of(
            str(row["path"]),
            partial(read_capped, str(file.parent / str(row["path"]))),
            row,
            wanted,
            path=path,
            labels=labels,
            part=part,
            complaint=f"{file}, row {number}: {row['path']} has neither label nor labels{columns}",
        )


def _rows(file: Path) -> Iterator[tuple[int, TableRow]]:
    try:
        with file.open(newline="", encoding="utf-8-sig") as lines:
            if file.suffix.lower() == ".csv":
                yield from enumerate(csv.DictReader(lines), 2)
                return
            for number, line in enumerate(lines, 1):
                if line.strip():
                    row = json.loads(line)
                    if not isinstance(row, dict):
                        raise SourceError(f"{file}, row {number}: not a JSON object", path=file)
                    yield number, row
    except OSError as error:
        raise SourceError(f"cannot read {file}: {error.strerror}", path=file) from None
    except (ValueError, RecursionError, csv.Error) as error:
        raise SourceError(f"{file} is not a list we can read ({error})", path=file) from None
