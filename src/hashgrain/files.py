"""Reading and writing files: only regular ones, within a cap; written whole and synced, or not at all."""

from __future__ import annotations

import errno
import glob
import os
import stat
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from pathlib import Path

UNFINISHED = ".part"
NOT_REGULAR = "is not a regular file"


class NotRegularError(OSError):
    """A device, a pipe, a socket or a folder where a file should be: reading it could take for ever."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        super().__init__(errno.EINVAL, NOT_REGULAR, os.fspath(path))


class TooLargeError(OSError):
    def __init__(self, path: str | os.PathLike[str], cap: int) -> None:
        size = f"{cap >> 20} MB" if cap >= 1 << 20 else f"{cap} bytes"
        super().__init__(errno.EFBIG, f"is larger than {size}", os.fspath(path))


def open_regular(path: str | os.PathLike[str]) -> int:
    """A descriptor to read a file. A link is followed; what it leads to must be a regular file.

    Never waits: a pipe without a writer is opened without blocking, and refused.
    """
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_NOCTTY", 0)
    try:
        descriptor = os.open(path, flags)
    except ValueError as error:  # a zero byte in the name
        raise OSError(errno.EINVAL, str(error), os.fspath(path)) from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise NotRegularError(path)
    return descriptor


def read_regular(path: str | os.PathLike[str], cap: int) -> bytes:
    """The bytes of a regular file of at most `cap` bytes; an OSError says why not."""
    return read_descriptor(open_regular(path), path, cap)


def read_descriptor(descriptor: int, path: str | os.PathLike[str], cap: int) -> bytes:
    """All bytes of an open file, which is then closed. `path` is only for the error."""
    with open(descriptor, "rb") as file:
        # Room is made for as much as is asked for: not for a gigabyte where there are two megabytes.
        content = file.read(min(cap, os.fstat(descriptor).st_size) + 1)
        while len(content) <= cap and (more := file.read(min(cap + 1 - len(content), 1 << 20))):  # it grew meanwhile
            content += more
    if len(content) > cap:
        raise TooLargeError(path, cap)
    return content


def write_atomically(path: str | os.PathLike[str], data: bytes) -> None:
    """`path` holds all of `data`, on the disk, or what it held before."""
    with writing_atomically(path) as file:
        file.write(data)


@contextmanager
def writing_atomically(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """The same for what is written piece by piece: the file takes its name when the block ends well.

    A device or a pipe by that name is written to as it is: another file in its place would serve nobody.
    """
    from pathlib import Path  # a worker, which writes nothing, starts sooner without it

    target = Path(path)
    if _is_special(target):
        with open(target, "wb") as file:
            yield file
        return
    aside = target.with_name(f".{target.name}.{os.urandom(4).hex()}{UNFINISHED}")
    try:
        with open(aside, "x+b") as file:
            yield file
            file.flush()
            sync(file.fileno())
        os.replace(aside, target)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
    sync_folder(target.parent)


def sweep_unfinished(path: str | os.PathLike[str], older_than: float) -> None:
    """Remove what a killed `writing_atomically` of `path` left, once nobody can be writing it: after some seconds."""
    from pathlib import Path

    target = Path(path)
    for aside in target.parent.glob(f".{glob.escape(target.name)}.*{UNFINISHED}"):
        with suppress(OSError):
            if time.time() - aside.stat().st_mtime > older_than:
                aside.unlink()


def sha256_of(path: str | os.PathLike[str]) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    import hashlib

    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _is_special(target: Path) -> bool:
    try:
        return not stat.S_ISREG(os.stat(target).st_mode) and not target.is_dir()
    except (OSError, ValueError):  # nothing there; what cannot be looked at cannot be written either, and says why
        return False


def sync(file: int) -> None:
    """On the disk when it returns. A Mac's fsync stops at the drive's own cache; F_FULLFSYNC does not."""
    if sys.platform == "darwin":
        import fcntl

        fcntl.fcntl(file, fcntl.F_FULLFSYNC)
    else:
        os.fsync(file)


def sync_folder(folder: str | os.PathLike[str]) -> None:
    """The names in a folder are data of the folder: a new file is durable only after this."""
    if sys.platform == "win32":  # NTFS journals names itself and has no call for it
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
