"""One writer per library: a lock on LIBRARY/writer.lock, which the system releases when its process ends."""

from __future__ import annotations

import os
import sys
import weakref
from io import FileIO
from pathlib import Path

from hashgrain import inside
from hashgrain.errors import LibraryLockedError

NAME = "writer.lock"


class WriterLock:
    """A lock from construction until `release` or the end of the process."""

    def __init__(self, library: Path) -> None:
        descriptor = inside.open_file(library, NAME, flags=os.O_RDWR | os.O_CREAT)
        self._file = FileIO(descriptor, "r+")
        if not _try_lock(self._file):
            holder = self._file.read(32).decode("ascii", "replace").strip()
            self._file.close()
            raise _locked_error(library, holder)
        self._file.truncate(0)
        self._file.write(str(os.getpid()).encode())
        _open_locks.add(self)

    def release(self) -> None:
        if not self._file.closed:
            self._file.truncate(0)
            self.forget()

    def forget(self) -> None:
        """Close the file only. A forked child calls it, so that the lock ends with its parent."""
        self._file.close()


def _locked_error(library: Path, holder: str) -> LibraryLockedError:
    if holder == str(os.getpid()):
        message, remedy = f"{library} is already open for writing in this program", "close that one first"
    else:
        who = f"process {holder}" if holder.isdigit() else "another process"
        message, remedy = f"{library} is being written to by {who}", "wait until it ends, or stop it"
        remedy += ". Reading works meanwhile"
    return LibraryLockedError(message, path=library, remedy=remedy)


if sys.platform == "win32":
    import msvcrt

    def _try_lock(file: FileIO) -> bool:
        # A locked byte cannot be read by others here, so lock one far behind the process id.
        file.seek(1 << 20)
        try:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        finally:
            file.seek(0)
        return True

else:
    import fcntl

    def _try_lock(file: FileIO) -> bool:
        try:
            fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


# A forked worker inherits the locked file, and would keep the lock after its parent was killed. The list is at module
# level because a fork concerns the process, not one store.
_open_locks: weakref.WeakSet[WriterLock] = weakref.WeakSet()


def _forget_all() -> None:
    for lock in list(_open_locks):
        lock.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)
