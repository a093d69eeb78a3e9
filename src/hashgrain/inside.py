"""Files inside a folder nobody vouches for, such as a library from a stranger: no link below it is followed.

A link may lead anywhere: what is read through it gets out, what is written through it is lost. So each level below
the folder is opened by itself, relative to the one above, and refused where it is a link; where the system has no
such calls, each level is looked at before it is used. The folder itself may be reached through links.

Every function takes the folder and then the names below it: `read(library, "model", "model.json", cap=...)`.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from hashgrain import files
from hashgrain.files import NotRegularError

Folder = str | os.PathLike[str]
RELATIVE = os.open in os.supports_dir_fd and hasattr(os, "O_NOFOLLOW") and hasattr(os, "O_DIRECTORY")
BINARY = getattr(os, "O_BINARY", 0)
WAITS = getattr(os, "O_NONBLOCK", 0)


class LinkError(OSError):
    """A link where there must be none."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        reason = "is a link, and links inside a library are not followed; put a copy of the file in its place"
        super().__init__(errno.ELOOP, reason, os.fspath(path))


def open_file(folder: Folder, *names: str, flags: int = os.O_RDONLY, mode: int = 0o666) -> int:
    """A descriptor of a regular file. With O_TRUNC it is emptied only once it is known to be one."""
    emptied = flags & os.O_TRUNC
    flags = (flags & ~os.O_TRUNC) | BINARY | WAITS
    with _above(folder, names) as (place, name):
        if RELATIVE:
            descriptor = _open(name, flags | os.O_NOFOLLOW, mode, place, _path(folder, names))
        else:
            _refuse_link(Path(folder, *names))
            descriptor = os.open(Path(folder, *names), flags, mode)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise NotRegularError(_path(folder, names))
        if emptied:
            os.ftruncate(descriptor, 0)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def read(folder: Folder, *names: str, cap: int) -> bytes:
    return files.read_descriptor(open_file(folder, *names), _path(folder, names), cap)


def write(folder: Folder, *names: str, data: bytes, durable: bool = True) -> None:
    """The file holds all of `data` or what it held before; a link or another thing by its name is replaced."""
    part = f".{names[-1]}.{os.urandom(4).hex()}.part"
    descriptor = open_file(folder, *names[:-1], part, flags=os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    try:
        with open(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            if durable:
                files.sync(file.fileno())
        rename(folder, names[:-1], part, names[-1])
    except BaseException:
        with suppress(OSError):
            remove(folder, *names[:-1], part)
        raise
    if durable:
        sync_names(folder, *names[:-1])


def rename(folder: Folder, below: tuple[str, ...], old: str, new: str) -> None:
    """Give a file in folder/below another name there, over whatever has it.

    Beside `files.write_atomically`, since no link below the folder may be followed, and since a bundle writes all of
    its files before any takes its name.
    """
    with _above(folder, (*below, new)) as (place, name):
        if RELATIVE:
            os.replace(old, name, src_dir_fd=place, dst_dir_fd=place)
        else:
            os.replace(Path(folder, *below, old), Path(folder, *below, new))


def remove(folder: Folder, *names: str) -> None:
    """Unlink a file, or the link that stands there, never what the link leads to."""
    with _above(folder, names) as (place, name):
        if RELATIVE:
            os.unlink(name, dir_fd=place)
        else:
            os.unlink(Path(folder, *names))


def remove_folder(folder: Folder, *below: str) -> None:
    """Remove a folder with the files in it, none of which is followed where it is a link."""
    for name in names(folder, *below):
        remove(folder, *below, name)
    with _above(folder, below) as (place, name):
        os.rmdir(name, dir_fd=place) if RELATIVE else os.rmdir(Path(folder, *below))


def look(folder: Folder, *names: str) -> os.stat_result:
    """What stands there, of a link the link itself."""
    if len(names) == 1:  # no level between
        _check_name(folder, names)
        return os.lstat(os.path.join(folder, *names))
    with _above(folder, names) as (place, name):
        if RELATIVE:
            return os.stat(name, dir_fd=place, follow_symlinks=False)
        return os.lstat(Path(folder, *names))


def is_file(folder: Folder, *names: str) -> bool:
    """Whether a regular file stands there, reached through no link."""
    try:
        return stat.S_ISREG(look(folder, *names).st_mode)
    except OSError:
        return False


def size(folder: Folder, *names: str) -> int:
    """The size of a regular file; 0 where there is none."""
    try:
        found = look(folder, *names)
    except OSError:
        return 0
    return found.st_size if stat.S_ISREG(found.st_mode) else 0


def names(folder: Folder, *below: str) -> list[str]:
    """What stands in folder/below, sorted; nothing where there is no such folder. A link there is an error."""
    try:
        with _folder(folder, below) as place:
            return sorted(os.listdir(place if RELATIVE else Path(folder, *below)))
    except FileNotFoundError:
        return []


def make_folder(folder: Folder, *names: str) -> bool:
    """Make folder/names; whether it had to be made."""
    with _above(folder, names) as (place, name):
        try:
            os.mkdir(name, dir_fd=place) if RELATIVE else os.mkdir(Path(folder, *names))
        except FileExistsError:
            with _folder(folder, names):  # which refuses what is no folder
                return False
    return True


def sync_names(folder: Folder, *below: str) -> None:
    """Make the names in folder/below durable."""
    files.sync_folder(Path(folder, *below))


def _path(folder: Folder, names: tuple[str, ...]) -> str:
    return os.path.join(os.fspath(folder), *names)


def _refuse_link(path: Path) -> None:
    with suppress(FileNotFoundError):
        found = os.lstat(path)
        if stat.S_ISLNK(found.st_mode) or bool(getattr(found, "st_reparse_tag", False)):
            raise LinkError(path)


def _open(name: str, flags: int, mode: int, place: int, path: str) -> int:
    try:
        return os.open(name, flags, mode, dir_fd=place)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.EMLINK, errno.ENOTDIR) and _is_link(name, place):
            raise LinkError(path) from None
        if error.errno == errno.ENXIO:  # a pipe nobody reads from, a socket
            raise NotRegularError(path) from None
        raise OSError(error.errno, error.strerror, path) from None


def _is_link(name: str, place: int) -> bool:
    try:
        return stat.S_ISLNK(os.stat(name, dir_fd=place, follow_symlinks=False).st_mode)
    except OSError:
        return False


@contextmanager
def _folder(folder: Folder, below: tuple[str, ...]) -> Iterator[int]:
    """A descriptor of folder/below; -1 where the system has no calls relative to one."""
    if not RELATIVE:
        for depth in range(1, len(below) + 1):
            _refuse_link(Path(folder, *below[:depth]))
        yield -1
        return
    place = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for depth, name in enumerate(below, 1):
            flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
            inner = _open(name, flags, 0, place, _path(folder, below[:depth]))
            os.close(place)
            place = inner
        yield place
    finally:
        os.close(place)


def _check_name(folder: Folder, names: tuple[str, ...]) -> None:
    if not names[-1] or names[-1] in (".", "..") or set(names[-1]) & {"/", os.sep, "\0"}:
        raise OSError(errno.EINVAL, "is not a name", _path(folder, names))


@contextmanager
def _above(folder: Folder, names: tuple[str, ...]) -> Iterator[tuple[int, str]]:
    """The folder a name stands in, and the name, which is a single one."""
    _check_name(folder, names)
    with _folder(folder, names[:-1]) as place:
        yield place, names[-1]
