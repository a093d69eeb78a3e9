"""The few calls by which the store writes files: made durable here, and made to fail here in tests."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def write_at(file: int, data: bytes, offset: int) -> None:
    """All of `data` at `offset`, however many calls the system takes for it."""
    os.lseek(file, offset, os.SEEK_SET)
    view = memoryview(data)
    while view:
        view = view[write(file, view) :]


def write(file: int, data: memoryview) -> int:
    return os.write(file, data)


def sync(file: int) -> None:
    """On the disk when it returns. A Mac's fsync stops at the drive's own cache; F_FULLFSYNC does not."""
    if sys.platform == "darwin":
        import fcntl

        fcntl.fcntl(file, fcntl.F_FULLFSYNC)
    else:
        os.fsync(file)


def sync_folder(folder: Path) -> None:
    """The names in a folder are data of the folder: a new file is durable only after this."""
    if sys.platform == "win32":  # NTFS journals names itself and has no call for it
        return
    file = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)
