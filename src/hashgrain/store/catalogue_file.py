"""Reading the catalogue's bytes beside SQLite, without taking its locks away.

On POSIX systems a process loses all its locks on a file when it closes any descriptor of it. SQLite, without its lock,
would not be noticed by a writer of another process that closes and takes the write-ahead log away: a reader would go on
in what is gone, and answer what was so. So while connections of this process are open, there is one descriptor of the
file, which is closed after the last of them.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from hashgrain import inside

NAME = "catalogue.sqlite"
Identity = tuple[int, int]  # device and inode


@dataclass
class _Held:
    descriptor: int
    users: int = 0
    others: list[int] = field(default_factory=list)  # opened by a race, and closed with it


_held: dict[Identity, _Held] = {}
_lock = threading.RLock()


def identity(library: Path) -> Identity:
    """Which file the catalogue is; another one after the library was replaced, none after it was deleted."""
    try:
        found = os.stat(library / NAME)
    except FileNotFoundError:
        return (0, 0)
    return (found.st_dev, found.st_ino)


def hold(library: Path) -> Identity:
    """Before a connection is opened: keep a descriptor until `release`. Returns which file it is of."""
    with _lock:
        key = identity(library)
        if key not in _held:
            descriptor = inside.open_file(library, NAME)
            found = os.fstat(descriptor)
            key = (found.st_dev, found.st_ino)  # another one, if it was replaced just now
            if key in _held:
                _held[key].others.append(descriptor)
            else:
                _held[key] = _Held(descriptor)
        _held[key].users += 1
        return key


def release(key: Identity) -> None:
    """After the connection was closed."""
    with _lock:
        held = _held[key]
        held.users -= 1
        if not held.users:
            for descriptor in (held.descriptor, *held.others):
                os.close(descriptor)
            del _held[key]


@contextmanager
def opened(library: Path) -> Iterator[int]:
    """A descriptor to read the catalogue with; by `read_at` alone, since others may use it too."""
    with _lock:
        key = hold(library)
        descriptor = _held[key].descriptor
    try:
        yield descriptor
    finally:
        release(key)


def read_at(descriptor: int, size: int, place: int) -> bytes:
    """Up to `size` bytes from `place` on; fewer at the end of the file."""
    if hasattr(os, "pread"):
        return os.pread(descriptor, size, place)
    with _lock:
        os.lseek(descriptor, place, os.SEEK_SET)
        return os.read(descriptor, size)
