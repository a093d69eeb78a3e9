"""Whether a file may be acted upon: it is looked at again right before, and any doubt leaves it where it is."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from contextlib import suppress

from hashgrain.errors import ImageError
from hashgrain.files import open_regular
from hashgrain.library.reading import read, reason_of
from hashgrain.sources import file_of, reopen
from hashgrain.store import Item

FileId = tuple[int, int]  # device and number of a file on it: equal for all links to one file
Look = tuple[int, int, int, int]  # the same, with size and time


def look_of(status: os.stat_result) -> Look:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def ids_of(items: Iterable[Item]) -> set[FileId]:
    """The files that these items are, however they are named."""
    known = set()
    for item in items:
        with suppress(OSError, ValueError):
            status = os.stat(file_of(item.path))
            known.add((status.st_dev, status.st_ino))
    return known


def why_not_touched(item: Item, kept: set[FileId], *, thorough: bool) -> tuple[str | None, Look | None]:
    """Why the file of a copy must stay as it is, or None and how the file looks now. Unless `thorough`, a file of the
    size and time that the library knows is not read."""
    if item.size is None:
        return "was given as an object, not as a file", None
    if file_of(item.path) != item.path:
        return "is inside an archive or a table, which is not changed", None
    try:
        status = os.lstat(item.path)
    except (OSError, ValueError) as error:
        return _missing(error), None
    if stat.S_ISLNK(status.st_mode):
        return "is a symbolic link", None
    if not stat.S_ISREG(status.st_mode):
        return "is not a regular file", None
    if (status.st_dev, status.st_ino) in kept:
        return "is the file of a kept picture under another name, by a link", None
    if is_read_only(os.path.dirname(item.path)):
        return "its folder is read-only", None
    return why_changed(item, thorough=thorough), look_of(status)


def is_read_only(folder: str) -> bool:
    """Whether nothing may be taken out of a folder. One without any permission to write is left alone by root, too."""
    if not os.access(folder, os.W_OK | os.X_OK):
        return True
    with suppress(OSError):
        return os.name == "posix" and not os.stat(folder).st_mode & 0o222
    return False


def why_changed(item: Item, *, thorough: bool) -> str | None:
    """Why the content of an item is not what the library knows, or cannot be read; None if it is."""
    file = file_of(item.path)
    if not os.path.isabs(file):
        return "was given as an object, and cannot be read again"
    try:
        status = os.stat(file)
        if file != item.path and not thorough:
            return None if os.access(file, os.R_OK) else "may not be read"
        if file == item.path and status.st_size != item.size:
            return "has changed since it was added"
        if not thorough and status.st_mtime_ns == item.mtime_ns:
            os.close(open_regular(file))
            return None
        content, _, _ = read(reopen(item))
    except (ImageError, OSError, ValueError) as error:
        return _missing(error)
    return None if content == item.content else "has changed since it was added"


def _missing(error: Exception) -> str:
    if isinstance(error, (FileNotFoundError, NotADirectoryError)):
        return "is gone"
    return f"cannot be read ({reason_of(error)})"
