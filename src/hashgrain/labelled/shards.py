"""Shards of webdataset: tar archives in which `key.jpg` has its label in `key.cls`, `key.txt` or `key.json`.

`sources` reads the archives: member after member, each with a size limit, without unpacking to disk.
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

LONGEST_CLASS = 200  # characters; a longer text is a caption, not a class


def is_shard(file: Path) -> bool:
    return file.name.lower().endswith(ARCHIVES)


def shards_in(folder: Path) -> list[Path]:
    return sorted(file for file in folder.iterdir() if is_shard(file) and file.is_file())


def shard_pictures(file: Path, wanted: Wanted) -> Iterator[LabelledPicture]:
    """`key.json` is a row as in lists (label, labels, a label for each grain, part, box); `key.cls` and `key.txt` are
    a class, or classes from the root down joined by /. The shard's name gives the part."""
    part = part_of(file)
    try:
        for member in archive_sources(str(file)):
            if isinstance(member, Refused) and member.path == str(file):
                raise SourceError(f"{file}: {member.reason}", path=file)
            name = f"{file.name}{member.path[len(str(file)) :]}"
            if isinstance(member, Refused):  # too large: skip it and go on
                yield LabelledPicture(name, _refusal(name, member.reason), part)
                continue
            path, labels = _label(name, member.meta)
            yield picture_of(
                name,
                member.load,
                member.meta,
                wanted,
                path=path,
                labels=labels,
                part=part,
                complaint=f"{file}: {name.partition('!')[2]} has no label in a .cls, .txt or .json of its key",
            )
    except OSError as error:
        raise SourceError(f"cannot read {file}: {error.strerror}", path=file) from None


def _label(name: str, notes: Mapping[str, Any]) -> tuple[list[Any], list[Any] | None]:
    """The path of classes, or the set of labels."""
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
        raise SourceError(f"{name}: {str(label)[:80]!r} is not a class, and the .txt of its key must be one")
    return path, None


def _refusal(name: str, reason: str) -> Callable[[], bytes]:
    def read() -> bytes:
        raise ImageError(f"{name}: {reason}")

    return read
