"""The lists that papers on hashing share: test.txt, train.txt and database.txt with one picture per line, its path
and then its labels as zeros and ones (`images/7.jpg 0 1 0 0 1`), or the number of its class (`images/7.jpg 3`).

A picture of both training set and database is in two lists and comes twice, once in each part.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from hashgrain.errors import SourceError
from hashgrain.labelled.picture import LabelledPicture, Wanted
from hashgrain.sources.source import read_capped

PARTS = {"query.txt": "test", "test.txt": "test", "train.txt": "train", "database.txt": "database"}
START = 4096  # bytes that show whether a file is such a list


def path_lists_in(folder: Path) -> list[Path]:
    """The lists in a folder; none if a file with such a name has lines of another kind."""
    lists = [folder / name for name in PARTS if (folder / name).is_file()]
    return lists if len(lists) > 1 and all(map(_is_path_list, lists)) else []


def path_list_pictures(file: Path, wanted: Wanted) -> Iterator[LabelledPicture]:
    """Paths are relative to the list. Labels are numbered from 0, in the order of their columns."""
    columns = 0
    try:
        with file.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                if not line.strip():
                    continue
                name, marks = _parted(line)
                columns = columns or len(marks)
                if not marks or len(marks) != columns:
                    raise SourceError(
                        f"{file}, line {number}: a path and then {columns or 'as many'} zeros and ones, or the"
                        " number of a class, as in the lines before",
                        path=file,
                    )
                labels = tuple(str(i) for i, mark in enumerate(marks) if mark == "1") if columns > 1 else None
                path = (marks[0],) if labels is None else ()
                read = partial(read_capped, str(file.parent / name))
                yield LabelledPicture(name, read, PARTS[file.name], path, labels)
    except OSError as error:
        raise SourceError(f"cannot read {file}: {error.strerror}", path=file) from None
    except UnicodeDecodeError as error:
        raise SourceError(f"{file} is not a list we can read ({error})", path=file) from None


def _is_path_list(file: Path) -> bool:
    try:
        with file.open("rb") as opened:
            first = opened.read(START).split(b"\n", 1)[0]
    except OSError:
        return False
    return bool(_parted(first.decode("utf-8", "replace"))[1])


def _parted(line: str) -> tuple[str, list[str]]:
    """Split a line into a path, which may contain blanks, and its marks: zeros and ones, one number, or none."""
    words = line.split()
    count = next((place for place, word in enumerate(reversed(words[1:])) if word not in ("0", "1")), len(words) - 1)
    if count < 2:
        count = int(len(words) > 1 and words[-1].isascii() and words[-1].isdigit())
    path, *marks = line.strip().rsplit(maxsplit=count) if count > 0 else [line.strip()]
    return path, marks
