"""Parquet tables with one row per picture: its bytes in a column, or the path of its file."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from hashgrain.errors import SourceError
from hashgrain.labelled.picture import LabelledPicture, Wanted, part_of
from hashgrain.labelled.rows import LABELS, TableRow, grain_columns, is_missing, picture_of
from hashgrain.sources.source import read_capped
from hashgrain.sources.tables import COLUMNS

ROWS = 1024  # read at a time


def is_table(file: Path) -> bool:
    return file.suffix.lower() == ".parquet"


def tables_in(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.parquet"))


def table_pictures(file: Path, wanted: Wanted) -> Iterator[LabelledPicture]:
    """The file's name gives the part: train-00-of-04.parquet holds pictures of `train`."""
    try:
        import pyarrow.parquet as parquet
    except ImportError:
        raise SourceError(f"{file.parent}: parquet needs an extra: pip install 'hashgrain[parquet]'") from None
    names, part = _class_names(file.parent), part_of(file)
    try:
        with parquet.ParquetFile(file) as table:
            there = set(table.schema_arrow.names)
            picture = next((column for column in (*COLUMNS, "path") if column in there), None)
            used = there & {*LABELS, *grain_columns(wanted)}
            if picture is None or not (used or wanted.unlabelled):
                columns = ", ".join([*LABELS[:3], *grain_columns(wanted)])
                raise SourceError(f"{file} has no column `image`, or none of {columns}; it has {there}", path=file)
            number = 0
            for batch in table.iter_batches(ROWS, columns=sorted({picture, *used, *(there & {"box", "part"})})):
                for row in batch.to_pylist():
                    yield row_picture(f"{file.name}#{number}", row, picture, wanted, names, part, file.parent)
                    number += 1
    except SourceError:
        raise
    except Exception as error:  # pyarrow raises a dozen unrelated classes for damaged files
        raise SourceError(f"{file} is damaged or not a parquet file ({error})", path=file) from None


def row_picture(
    name: str,
    row: TableRow,
    picture: str,
    wanted: Wanted,
    names: Sequence[tuple[str, ...]] = (),
    part: str = "",
    beside: Path | None = None,
) -> LabelledPicture:
    """The picture of a row. The column `picture` holds bytes, Hugging Face's struct of bytes and path, or, if it is
    called `path`, the path of a file `beside` the table. `names` are the class paths to which labels are indices."""
    path, labels = _label(name, row, names)
    return picture_of(
        str(row[picture]) if picture == "path" else name,
        _reader(name, row[picture], beside if picture == "path" else None),
        row,
        wanted,
        path=path,
        labels=labels,
        part=part,
        complaint=f"{name}: the row has no label",
    )


def _reader(name: str, picture: Any, beside: Path | None) -> Callable[[], bytes]:
    if beside is not None:
        if not picture or not isinstance(picture, str):
            raise SourceError(f"{name}: the row has no path of a picture")
        return partial(read_capped, str(beside / picture))
    content = picture.get("bytes") if isinstance(picture, dict) else picture
    if not content or not isinstance(content, bytes):
        raise SourceError(f"{name}: the row holds no picture")
    return lambda: bytes(content)


def _label(name: str, row: TableRow, names: Sequence[tuple[str, ...]]) -> tuple[Sequence[Any], Sequence[Any] | None]:
    """The path of classes, or the set of labels."""
    if row.get("labels") is not None:
        if not isinstance(row["labels"], list):
            raise SourceError(f"{name}: labels are {row['labels']!r}, not a list; one class goes into `label`")
        return (), row["labels"]
    if not is_missing(row.get("fine_label")):
        return [row[level] for level in ("coarse_label", "fine_label") if not is_missing(row.get(level))], None
    label = row.get("label")
    if is_missing(label):
        return (), None
    if names:
        if not (isinstance(label, int) and 0 <= label < len(names)):
            raise SourceError(f"{name}: label {label!r}, but hierarchy.json names {len(names)} classes")
        return names[label], None
    return label if isinstance(label, list) else [label], None


def _class_names(folder: Path) -> list[tuple[str, ...]]:
    """Superclass and name of each class in hierarchy.json. Classes with the same name get a number."""
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
