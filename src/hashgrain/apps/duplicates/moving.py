"""Moving files and replacing them by links so that nothing is lost: no name is ever written over unseen."""

from __future__ import annotations

import errno
import os
import shutil
from contextlib import suppress

from hashgrain.apps.duplicates.checks import Look, look_of
from hashgrain.files import UNFINISHED, sha256_of, sync, sync_folder

MAX_TRIES = 100_000
CHANGED = "changed while it was looked at"


class ChangedError(OSError):
    """A file that is no longer the one that was checked."""

    def __init__(self, path: str) -> None:
        super().__init__(errno.EBUSY, CHANGED, path)


def free_name(folder: str, name: str, taken: set[str]) -> str:
    """The name in the folder that nothing has yet: photo.jpg, photo-2.jpg, ..."""
    stem, suffix = os.path.splitext(name)
    for number in range(1, MAX_TRIES):
        path = os.path.join(folder, name if number == 1 else f"{stem}-{number}{suffix}")
        if path not in taken and not os.path.lexists(path):
            return path
    raise FileExistsError(errno.EEXIST, "has too many files of this name", os.path.join(folder, name))


def reserve(folder: str, name: str) -> str:
    """The same, held by an empty file that is made there, so that no other program takes it."""
    while True:
        path = free_name(folder, name, set())
        with suppress(FileExistsError):
            hold(path)
            return path


def hold(path: str) -> None:
    """Make an empty file of this name; FileExistsError if anything has it."""
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL))


def move(path: str, target: str, seen: Look | None) -> None:
    """Move a file over the empty one that holds its new name, also to another disk. `seen` is how it must look."""
    _need_same(path, seen)
    try:
        os.replace(path, target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        _copy(path, target)
        _need_same(path, seen)
        os.unlink(path)
    sync_folder(os.path.dirname(target))
    sync_folder(os.path.dirname(path))


def link(path: str, kept: str, seen: Look) -> None:
    """Replace a file by a hard link to the kept one, in one step: there is always a file of that name."""
    aside = _aside(path)
    os.link(os.path.realpath(kept), aside)
    try:
        _need_same(path, seen)
        os.replace(aside, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(aside)
        raise
    sync_folder(os.path.dirname(path))


def unlink_from_others(path: str, mode: int, mtime_ns: int) -> None:
    """Replace a hard link by a file of its own with the same bytes, permissions `mode` and time."""
    aside = _aside(path)
    _copy(path, aside)
    os.chmod(aside, mode)
    os.utime(aside, ns=(mtime_ns, mtime_ns))
    os.replace(aside, path)
    sync_folder(os.path.dirname(path))


def _copy(path: str, target: str) -> None:
    """Copy a file with its times and permissions; the target takes its name when the copy is on the disk."""
    aside = _aside(target)
    try:
        with open(path, "rb") as source, open(aside, "xb") as file:
            shutil.copyfileobj(source, file, 1 << 20)
            file.flush()
            sync(file.fileno())
        shutil.copystat(path, aside)
        if sha256_of(aside) != sha256_of(path):
            raise ChangedError(path)
        os.replace(aside, target)
    except BaseException:
        with suppress(OSError):
            os.unlink(aside)
        raise


def _need_same(path: str, seen: Look | None) -> None:
    if seen is not None and look_of(os.lstat(path)) != seen:
        raise ChangedError(path)


def _aside(path: str) -> str:
    return os.path.join(os.path.dirname(path), f".hashgrain-{os.urandom(8).hex()}{UNFINISHED}")
