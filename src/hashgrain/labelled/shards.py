"""Shards of webdataset: tar archives in which `key.jpg` has its label in `key.cls`, `key.txt` or `key.json`.

Archives are read as `sources` reads them: member after member, each with a cap on its size, nothing to disk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from hashgrain.errors import ImageError, SourceError
from hashgrain.labelled.picture import LabelledPicture, Wanted, part_of
from hashgrain.labelled.rows import is_missing, picture_of
from hashgrain.sources.archives import ARCHIVES, archive_sources
from hashgrain.sources.source import Refused

LONGEST_CLASS = 200  # characters; more is a caption, not the name of a class


def is_shard(file: Path) -> bool:
    return file.name.lower().endswith(ARCHIVES)


def shards_in(folder: Path) -> list[Path]:
    return sorted(file for file in folder.iterdir() if is_shard(file) and file.is_file())


def shard_pictures(file: Path, wanted: Wanted) -> Iterator[LabelledPicture]:
    """`key.json` is a row as lists have them (label, labels, a label for each grain, part, box); `key.cls` and
    `key.txt` are a class, or classes from the root down joined by /. The part is told by the shard's name."""
    part = part_of(file)
    try:
        for found in archive_sources(str(file)):
            if isinstance(found, Refused) and found.path == str(file):
                raise SourceError(f"{file}: {found.reason}", path=file)
            name = f"{file.name}{found.path[len(str(file)) :]}"
            if isinstance(found, Refused):  # too large: one picture less, no reason to stop
                yield LabelledPicture(name, _refusal(name, found.reason), part)
                continue
            path, labels = _label(name, found.meta)
            yield picture_of(
                name,
                found.load,
                found.meta,
                wanted,
                path=path,
                labels=labels,
                part=part,
                complaint=f"{file}: {name.partition('!')[2]} has no label in a .cls, .txt or .json of its key",
            )
    except OSError as error:
        raise SourceError(f"cannot read {file}: {error.strerror}", path=file) from None


def _label(name: str, notes: Mapping[str, Any]) -> tuple[list[Any], list[Any] | None]:
    """Its path of classes, or its set of labels."""
    labels = notes.get("labels")
    if labels is not None:
        if not isinstance(labels, list):
            raise SourceError(f"{name}: labels are {str(labels)[:80]!r}, not a list; one class goes into `label`")
        return [], labels
    label = next((notes[key] for key in ("label", "cls", "text") if not is_missing(notes.get(key))), None)
    if label is None:
        return [], None
    path = label if isinstance(label, list) else str(label).split("/")
    if any(isinstance(each, (dict, list)) or len(str(each)) > LONGEST_CLASS for each in path):
        raise SourceError(f"{name}: {str(label)[:80]!r} is no class; a .txt of its key is taken for one")
    return path, None


def _refusal(name: str, reason: str) -> Callable[[], bytes]:
    def read() -> bytes:
        raise ImageError(f"{name}: {reason}")

    return read
