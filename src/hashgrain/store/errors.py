"""Errors of SQLite and of the system, translated to library errors that say what to do."""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hashgrain.errors import (
    DiskFullError,
    LibraryDamagedError,
    LibraryError,
    LibraryForbiddenError,
    LibraryLockedError,
    Remedy,
)

FULL = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT) if hasattr(errno, "EDQUOT") else (errno.ENOSPC, errno.EFBIG)
FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)
AS_IT_WAS = "the library is as it was before the last batch"
FROM_BACKUP = Remedy("restore it from a backup, or build the library again from its pictures", "restore")
MAKE_ROOM = Remedy("free some space and try again", "make_room")
CHECK_DISK = Remedy("the disk may be full or failing: free space, try again, then verify the library", "check_disk")
VERIFY = Remedy("try again, then verify the library", "verify")


def to_rebuild(library: Path) -> Remedy:
    return Remedy("rebuild the library to mend it", "rebuild", library=library)


def to_remove(item: int) -> Remedy:
    return Remedy(f"remove item {item}, and add its file again", "remove_item", item=item)


def index_damaged(library: Path) -> LibraryDamagedError:
    """The error for an index of the catalogue that leads to a row with another key."""
    message = f"{library}: an index of the catalogue is damaged"
    return LibraryDamagedError(message, path=library, remedy=FROM_BACKUP)


class MendableError(LibraryDamagedError):
    """Damage to data that can be rebuilt from the catalogue: segment files, and the lists of their contents."""

    def __init__(self, library: Path, thing: object, reason: str) -> None:
        super().__init__(f"{thing}: {reason}", path=thing, remedy=to_rebuild(library))
        self.thing, self.reason = str(thing), reason


@contextmanager
def translate_errors(library: Path) -> Iterator[None]:
    """Errors of SQLite or the system raised inside become a LibraryError that names the library."""
    try:
        yield
    except sqlite3.Error as error:
        raise _from_sqlite(library, error) from error
    except UnicodeDecodeError as error:  # sqlite3 quoting damaged bytes in its own message
        raise _damaged_error(library, "bytes that are no text") from error
    except OSError as error:
        raise _from_system(library, error) from error


def _from_sqlite(library: Path, error: sqlite3.Error) -> LibraryError:
    text = str(error)
    if "disk is full" in text:
        return _full_error(library, text)
    if "interrupted" in text:
        return _damaged_error(library, "reading it does not come to an end")
    if "disk I/O error" in text:
        message = f"{library}: the catalogue could not be read or written ({text}); {AS_IT_WAS}"
        return LibraryError(message, path=library, remedy=CHECK_DISK)
    if "locked" in text or "busy" in text:
        remedy = "try again when the other program has ended"
        return LibraryLockedError(f"{library}: the catalogue is busy ({text})", path=library, remedy=remedy)
    if "readonly" in text:
        remedy = "check the permissions of the folder and its files"
        return LibraryForbiddenError(f"{library} cannot be written to ({text})", path=library, remedy=remedy)
    if "unable to open" in text:
        remedy = "check the permissions of the folder, or open the library once where it can be written to"
        message = f"{library}: the catalogue cannot be opened ({text})"
        return LibraryForbiddenError(message, path=library, remedy=remedy)
    if "no such table" in text:  # each connection checks for all tables, so they were removed since
        message = f"{library} was converted to another format meanwhile"
        return LibraryError(message, path=library, remedy="open it again")
    return _damaged_error(library, text)


def _from_system(library: Path, error: OSError) -> LibraryError:
    reason = error.strerror or str(error)
    what = f"{error.filename}: {reason}" if error.filename else reason
    if error.errno in FULL:
        return _full_error(library, what)
    if error.errno in FORBIDDEN:
        remedy = "check the permissions of its files"
        return LibraryForbiddenError(f"{library} cannot be used as asked ({what})", path=library, remedy=remedy)
    return LibraryError(f"{library}: the system refused ({what}); {AS_IT_WAS}", path=library, remedy=VERIFY)


def _full_error(library: Path, reason: str) -> DiskFullError:
    message = f"{library}: the disk is full ({reason}); {AS_IT_WAS}"
    return DiskFullError(message, path=library, remedy=MAKE_ROOM)


def _damaged_error(library: Path, reason: str) -> LibraryDamagedError:
    return LibraryDamagedError(f"{library}: the catalogue is damaged ({reason})", path=library, remedy=FROM_BACKUP)
