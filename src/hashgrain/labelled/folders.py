"""Folders whose path is the hierarchy: `animal/cat/tom.jpg`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from hashgrain.errors import SourceError
from hashgrain.labelled.picture import PARTS, LabelledPicture, Wanted
from hashgrain.sources.source import SUFFIXES, read_capped


def folder_pictures(top: Path, wanted: Wanted) -> Iterator[LabelledPicture]:
    """If all folders of the first level are named train, val, test and the like, they are the parts."""
    try:
        in_parts = {entry.name.lower() for entry in top.iterdir() if entry.is_dir()}
    except OSError as error:
        _complain(error)
    split = bool(in_parts) and in_parts <= PARTS
    for root, folders, files in os.walk(top, onerror=_complain):
        folders.sort()
        place = Path(root).relative_to(top).parts
        part, path = (place[0].lower(), place[1:]) if split and place else ("", place)
        for file in sorted(files):
            if Path(file).suffix.lower() not in SUFFIXES:
                continue
            picture = Path(root, file)
            if not path and not wanted.unlabelled:
                raise SourceError(f"{picture} is in no class: put pictures into folders named after their class")
            yield LabelledPicture(str(picture.relative_to(top)), partial(read_capped, str(picture)), part, path)


def _complain(error: OSError) -> None:
    raise SourceError(f"cannot read {error.filename}: {error.strerror}") from None
