"""Reading the catalogue's bytes beside SQLite, without losing its locks.

On POSIX systems a process loses all its locks on a file when it closes any descriptor of it. A writer in another
process would not see that SQLite still reads here, and could remove the write-ahead log when it closes. Readers here
would then answer from deleted data. So while this process has connections, it has one descriptor of the file, which is
closed after the last of them.
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
class _SharedDescriptor:
    descriptor: int
    users: int = 0
    others: list[int] = field(default_factory=list)  # opened in a race, and closed together with it


_shared: dict[Identity, _SharedDescriptor] = {}
_lock = threading.RLock()


def identity(library: Path) -> Identity:
    """Device and inode of the catalogue. They change when the library is replaced, and are 0 when it is deleted."""
    try:
        status = os.stat(library / NAME)
    except FileNotFoundError:
        return (0, 0)
    return (status.st_dev, status.st_ino)


def acquire(library: Path) -> Identity:
    """Keep a descriptor open until `release`. Call it before a connection is opened. Returns the file's identity."""
    with _lock:
        key = identity(library)
        if key not in _shared:
            descriptor = inside.open_file(library, NAME)
            status = os.fstat(descriptor)
            key = (status.st_dev, status.st_ino)  # differs if the file was replaced just now
            if key in _shared:
                _shared[key].others.append(descriptor)
            else:
                _shared[key] = _SharedDescriptor(descriptor)
        _shared[key].users += 1
        return key


def release(key: Identity) -> None:
    """Undo one `acquire`. Call it after the connection is closed."""
    with _lock:
        shared = _shared[key]
        shared.users -= 1
        if not shared.users:
            for descriptor in (shared.descriptor, *shared.others):
                os.close(descriptor)
            del _shared[key]


@contextmanager
def shared_descriptor(library: Path) -> Iterator[int]:
    """A descriptor for reading the catalogue. Use `read_at` only, since other threads share it."""
    with _lock:
        key = acquire(library)
        descriptor = _shared[key].descriptor
    try:
        yield descriptor
    finally:
        release(key)


def read_at(descriptor: int, size: int, offset: int) -> bytes:
    """Up to `size` bytes from `offset`; fewer at the end of the file."""
    if hasattr(os, "pread"):
        return os.pread(descriptor, size, offset)
    with _lock:
        os.lseek(descriptor, offset, os.SEEK_SET)
        return os.read(descriptor, size)
