"""Pictures with labels: from folders whose path is the hierarchy, from parquet tables, from a list in a file.

A picture has a *path* of classes from the root down (`animal/cat`), or a *set* of labels. It may belong to a *part*
that its publisher gave it to, such as `train` or `test`. Pictures come one by one, in a fixed order, unopened.
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hashgrain.errors import SourceError

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif"}
PARTS = {"train", "training", "val", "valid", "validation", "test", "testing", "query", "database"}
LISTS = {".csv", ".jsonl"}
ROWS = 1024  # of a table, read at a time


@dataclass(frozen=True)
class LabelledPicture:
    name: str  # where it stands below the place that was named
    read: Callable[[], bytes]
    part: str = ""
    path: tuple[str, ...] = ()  # classes from the root down
    labels: tuple[str, ...] | None = None  # or a set of labels, which may be empty


def labelled_pictures(place: str | Path) -> Iterator[LabelledPicture]:
    """The pictures of a folder of folders, of a folder of parquet files, or of a .csv or .jsonl list."""
    where = Path(place).expanduser()
    if where.suffix.lower() in LISTS:
        yield from _listed(where)
    elif where.is_dir() and any(where.glob("*.parquet")):
        yield from _tables(where)
    elif where.is_dir():
        yield from _folders(where)
    else:
        raise SourceError(f"no labelled pictures at {where}: name a folder, or a .csv or .jsonl list of pictures")


def _folders(top: Path) -> Iterator[LabelledPicture]:
    """`animal/cat/tom.jpg`; where the first level is train, val, test and the like, it names the parts."""
    in_parts = {entry.name.lower() for entry in top.iterdir() if entry.is_dir()}
    split = bool(in_parts) and in_parts <= PARTS
    for root, folders, files in os.walk(top):
        folders.sort()
        place = Path(root).relative_to(top).parts
        part, path = (place[0], place[1:]) if split and place else ("", place)
        part = part.lower()
        for file in sorted(files):
            if Path(file).suffix.lower() not in SUFFIXES:
                continue
            picture = Path(root, file)
            if not path:
                raise SourceError(f"{picture} stands in no class: pictures go into folders named after their class")
            yield LabelledPicture(str(picture.relative_to(top)), picture.read_bytes, part, path)


def _listed(file: Path) -> Iterator[LabelledPicture]:
    """Rows with `path`, and `label` (a class, or classes from the root down joined by /) or `labels` (a set, joined
    by |, or a JSON list); `part` if there are parts. Paths are taken from where the list stands."""
    for number, row in _rows(file):
        picture = file.parent / str(row.get("path") or "")
        if not row.get("path"):
            raise SourceError(f"{file}, row {number}: no path; rows take path, and label or labels")
        label, labels = row.get("label"), row.get("labels")
        part = str(row.get("part") or "")
        if labels is not None:
            found = labels if isinstance(labels, list) else [part for part in str(labels).split("|") if part]
            yield LabelledPicture(str(row["path"]), picture.read_bytes, part, labels=tuple(map(str, found)))
        elif label not in (None, "", []):
            path = label if isinstance(label, list) else str(label).split("/")
            yield LabelledPicture(str(row["path"]), picture.read_bytes, part, tuple(map(str, path)))
        else:
            raise SourceError(f"{file}, row {number}: {row['path']} has neither label nor labels")


def _rows(file: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    try:
        with file.open(newline="", encoding="utf-8-sig") as lines:
            if file.suffix.lower() == ".csv":
                yield from enumerate(csv.DictReader(lines), 2)
                return
            for number, line in enumerate(lines, 1):
                if line.strip():
                    row = json.loads(line)
                    if not isinstance(row, dict):
                        raise SourceError(f"{file}, row {number}: not a JSON object")
                    yield number, row
    except OSError as error:
        raise SourceError(f"cannot read {file}: {error.strerror}") from None
    except (ValueError, RecursionError, csv.Error) as error:
        raise SourceError(f"{file} is not a list we can read ({error})") from None


def _tables(folder: Path) -> Iterator[LabelledPicture]:
    """A part is what the file's name begins with: train-00-of-04.parquet holds pictures of `train`."""
    try:
        import pyarrow.parquet as parquet
    except ImportError:
        raise SourceError(f"{folder}: parquet needs an extra: pip install 'hashgrain[parquet]'") from None
    names = _class_names(folder)
    for file in sorted(folder.glob("*.parquet")):
        part = file.stem.partition("-")[0]
        try:
            table = parquet.ParquetFile(file)
            columns = set(table.schema_arrow.names)
            used = columns & {"label", "labels", "fine_label", "coarse_label"}
            if "image" not in columns or not used:
                raise SourceError(
                    f"{file} has no column `image`, or none of label, labels, fine_label; it has {columns}"
                )
            number = 0
            for batch in table.iter_batches(ROWS, columns=["image", *sorted(used)]):
                for row in batch.to_pylist():
                    yield _of_row(f"{file.name}#{number}", row, part, names)
                    number += 1
        except SourceError:
            raise
        except Exception as error:  # pyarrow raises a dozen unrelated classes for damaged files
            raise SourceError(f"{file} is damaged or not a parquet file ({error})") from None


def _of_row(name: str, row: Mapping[str, Any], part: str, names: Sequence[tuple[str, ...]]) -> LabelledPicture:
    picture = row["image"]
    content = picture.get("bytes") if isinstance(picture, dict) else picture
    if not content or not isinstance(content, bytes):
        raise SourceError(f"{name}: the row holds no picture")

    def read() -> bytes:
        return bytes(content)

    if row.get("labels") is not None:
        if not isinstance(row["labels"], list):
            raise SourceError(f"{name}: labels are {row['labels']!r}, not a list; one class goes into `label`")
        return LabelledPicture(name, read, part, labels=tuple(map(str, row["labels"])))
    if row.get("fine_label") is not None:
        levels = [row[level] for level in ("coarse_label", "fine_label") if row.get(level) is not None]
        return LabelledPicture(name, read, part, tuple(map(str, levels)))
    label = row.get("label")
    if label is None:
        raise SourceError(f"{name}: the row has no label")
    if names and not (isinstance(label, int) and 0 <= label < len(names)):
        raise SourceError(f"{name}: label {label!r}, but hierarchy.json names {len(names)} classes")
    return LabelledPicture(name, read, part, names[label] if names else (str(label),))


def _class_names(folder: Path) -> list[tuple[str, ...]]:
    """What hierarchy.json says of each class: superclass and name. Two classes of one name are told apart by number."""
    index = folder / "hierarchy.json"
    if not index.is_file():
        return []
    try:
        classes = json.loads(index.read_text(encoding="utf-8"))["classes"]
        names = [str(entry["name"]) for entry in classes]
        parents = [str(entry["superclass"]) for entry in classes]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise SourceError(f"{index} is not a hierarchy we can read ({error!r})") from None
    unique = [f"{name} ({i})" if names.count(name) > 1 else name for i, name in enumerate(names)]
    return list(zip(parents, unique, strict=True))
