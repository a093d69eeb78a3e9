"""Datasets written by Hugging Face's `save_to_disk`: dataset_info.json, state.json and data-*.arrow, read with pyarrow
alone. With dataset_dict.json, each part is such a folder."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from hashgrain.errors import SourceError
from hashgrain.labelled.picture import LabelledPicture, Wanted
from hashgrain.labelled.rows import LABELS, grain_columns
from hashgrain.labelled.tables import row_picture
from hashgrain.sources.tables import COLUMNS

DICT, INFO, STATE = "dataset_dict.json", "dataset_info.json", "state.json"
ROWS = 256  # converted to Python objects at a time
MOST_JSON = 64 << 20
END = b"\xff\xff\xff\xff\0\0\0\0"  # of a stream: without it, a stream cut between two batches would look complete


def is_dataset(folder: Path) -> bool:
    return (folder / DICT).is_file() or ((folder / INFO).is_file() and (folder / STATE).is_file())


def dataset_pictures(folder: Path, wanted: Wanted) -> Iterator[LabelledPicture]:
    """The pictures are in the column of type Image; the features name the classes."""
    if not (folder / DICT).is_file():
        yield from _split(folder, "", wanted)
        return
    splits = _json(folder / DICT).get("splits")
    if not isinstance(splits, list):
        raise SourceError(f"{folder / DICT} does not list the splits", path=folder / DICT)
    for split in splits:
        yield from _split(_inside(folder, split, DICT), f"{split}/", wanted)


def _split(folder: Path, prefix: str, wanted: Wanted) -> Iterator[LabelledPicture]:
    state, features = _json(folder / STATE), _json(folder / INFO).get("features")
    if state.get("_indices_data_files"):
        raise SourceError(f"{folder} is a selection of rows: save it again after flatten_indices()", path=folder)
    files = state.get("_data_files")
    if not isinstance(features, dict) or not isinstance(files, list):
        raise SourceError(
            f"{folder} is not a saved dataset: {INFO} names no features, or {STATE} no files", path=folder
        )
    classes = {column: names for column, feature in features.items() if (names := _names(feature, folder))}
    part = prefix.rstrip("/") or str(state.get("_split") or "").partition("[")[0]  # train[:50%]
    for entry in files:
        file = _inside(folder, entry.get("filename") if isinstance(entry, dict) else entry, STATE)
        yield from _arrow(file, features, classes, prefix, part.lower(), wanted)


def _arrow(
    file: Path,
    features: Mapping[str, Any],
    classes: Mapping[str, list[str]],
    prefix: str,
    part: str,
    wanted: Wanted,
) -> Iterator[LabelledPicture]:
    try:
        import pyarrow
    except ImportError:
        raise SourceError(
            f"{file}: a saved dataset needs an extra: pip install 'hashgrain[parquet]'", path=file
        ) from None
    try:
        with pyarrow.memory_map(str(file)) as opened:
            _check_end(opened)
            stream = pyarrow.ipc.open_stream(opened)
            there = set(stream.schema.names)
            images = [name for name, feature in features.items() if _type(feature) == "Image"]
            picture = next((column for column in (*images, *COLUMNS) if column in there), None)
            used = there & {*LABELS, *grain_columns(wanted)}
            if picture is None or not (used or wanted.unlabelled):
                sought = ", ".join([*LABELS[:3], *grain_columns(wanted)])
                raise SourceError(f"{file} has no column of pictures, or none of {sought}; it has {there}", path=file)
            columns = sorted({picture, *used, *(there & {"box", "part"})})
            number = 0
            for batch in stream:
                batch = batch.select(columns)
                batch.validate(full=True)  # offsets of a damaged file could point out of its memory
                for start in range(0, batch.num_rows, ROWS):
                    for row in batch.slice(start, ROWS).to_pylist():
                        name = f"{prefix}{file.name}#{number}"
                        named = {column: _named(value, classes.get(column), name) for column, value in row.items()}
                        yield row_picture(name, named, picture, wanted, part=part)
                        number += 1
    except SourceError:
        raise
    except Exception as error:  # pyarrow raises a dozen unrelated classes for damaged files
        raise SourceError(f"{file} is damaged or not an arrow file ({error})", path=file) from None


def _check_end(opened: Any) -> None:
    opened.seek(max(0, opened.size() - len(END)))
    if opened.read() != END:
        raise ValueError("it ends without an end mark")
    opened.seek(0)


def _named(value: Any, names: list[str] | None, row: str) -> Any:
    """The name of a class, or of each class of a list; -1 means that there is none."""
    if names is None or value is None or value == -1:
        return value if names is None else None
    if isinstance(value, list):
        return [_named(each, names, row) for each in value if each is not None and each != -1]
    if not (isinstance(value, int) and 0 <= value < len(names)):
        raise SourceError(f"{row}: label {value!r}, but {INFO} names {len(names)} classes")
    return names[value]


def _names(feature: Any, folder: Path) -> list[str]:
    """The class names of a feature, or of the items of a list."""
    for _ in range(2):
        if _type(feature) == "ClassLabel":
            names = feature.get("names")
            if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
                raise SourceError(f"{folder / INFO} does not name the classes of its labels", path=folder / INFO)
            return names
        inner = feature.get("feature") if isinstance(feature, dict) else feature
        feature = inner[0] if isinstance(inner, list) and inner else inner
    return []


def _type(feature: Any) -> Any:
    return feature.get("_type") if isinstance(feature, dict) else None


def _inside(folder: Path, name: Any, described_in: str) -> Path:
    """A file or folder inside this folder: a dataset must not name a path elsewhere."""
    if not isinstance(name, str) or name in ("", ".", "..") or any(sign in name for sign in "/\\\0:"):
        raise SourceError(
            f"{folder / described_in} names {str(name)[:80]!r}, which is not the name of a file beside it",
            path=folder / described_in,
        )
    return folder / name


def _json(file: Path) -> dict[str, Any]:
    try:
        if file.stat().st_size > MOST_JSON:
            raise SourceError(f"{file} is larger than {MOST_JSON >> 20} MB: it does not describe a dataset", path=file)
        content = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise SourceError(f"cannot read {file}: {error.strerror}", path=file) from None
    except (ValueError, RecursionError) as error:
        raise SourceError(f"{file} is damaged ({error})", path=file) from None
    if not isinstance(content, dict):
        raise SourceError(f"{file} is damaged (not a JSON object)", path=file)
    return content
