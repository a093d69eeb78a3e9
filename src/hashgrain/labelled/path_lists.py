"""The lists that papers on hashing hand around: test.txt, train.txt and database.txt with a picture a line, its path
and then its labels as zeros and ones (`images/7.jpg 0 1 0 0 1`), or the number of its class (`images/7.jpg 3`).

A picture that is learnt from and searched stands in two lists, and comes twice, once in each part.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from hashgrain.errors import SourceError
from hashgrain.labelled.picture import LabelledPicture, Wanted
from hashgrain.sources.source import read_capped

PARTS = {"query.txt": "test", "test.txt": "test", "train.txt": "train", "database.txt": "database"}
LINE = re.compile(r"(\S.*?)((?:\s+[01]){2,}|\s+\d+)\s*")
START = 4096  # bytes that tell whether a file is such a list


def path_lists_in(folder: Path) -> list[Path]:
    """The lists in a folder; none where what looks like one has lines of another kind."""
    found = [folder / name for name in PARTS if (folder / name).is_file()]
    return found if len(found) > 1 and all(map(_is_path_list, found)) else []


def path_list_pictures(file: Path, wanted: Wanted) -> Iterator[LabelledPicture]:
    """Paths are taken from where the list stands. Labels are numbered from 0, in the order of their columns."""
    columns = 0
    try:
        with file.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                if not line.strip():
                    continue
                fits = LINE.fullmatch(line)
                marks = fits[2].split() if fits else []
                columns = columns or len(marks)
                if not fits or len(marks) != columns:
                    raise SourceError(
                        f"{file}, line {number}: a path and then {columns or 'as many'} zeros and ones, or the"
                        " number of a class, as in the lines before"
                    )
                labels = tuple(str(i) for i, mark in enumerate(marks) if mark == "1") if columns > 1 else None
                path = (marks[0],) if labels is None else ()
                read = partial(read_capped, str(file.parent / fits[1]))
                yield LabelledPicture(fits[1], read, PARTS[file.name], path, labels)
    except OSError as error:
        raise SourceError(f"cannot read {file}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise SourceError(f"{file} is not a list we can read ({error})") from None


def _is_path_list(file: Path) -> bool:
    try:
        with file.open("rb") as opened:
            first = opened.read(START).split(b"\n", 1)[0]
    except OSError:
        return False
    return LINE.fullmatch(first.decode("utf-8", "replace")) is not None
