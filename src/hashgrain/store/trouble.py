"""What SQLite and the system complain of, in words that say what to do."""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hashgrain.errors import LibraryError

FULL = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT) if hasattr(errno, "EDQUOT") else (errno.ENOSPC, errno.EFBIG)
FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)
AS_IT_WAS = "the library is as it was before the last batch"
FROM_BACKUP = "restore it from a backup, or build the library again with `hashgrain add`"


class MendableError(LibraryError):
    """Damage to what can be written anew from the catalogue: segment files, and the lists of what is in them."""

    def __init__(self, library: Path, thing: object, reason: str) -> None:
        super().__init__(f"{thing}: {reason}; `hashgrain rebuild {library}` mends it")
        self.thing, self.reason = str(thing), reason


@contextmanager
def told(library: Path) -> Iterator[None]:
    """Whatever SQLite or the system raises inside becomes a LibraryError that names the library."""
    try:
        yield
    except sqlite3.Error as error:
        raise LibraryError(_from_sqlite(library, error)) from error
    except UnicodeDecodeError as error:  # sqlite3 quoting damaged bytes in its own message
        raise LibraryError(f"{library}: the catalogue is damaged (bytes that are no text); {FROM_BACKUP}") from error
    except OSError as error:
        raise LibraryError(_from_system(library, error)) from error


def _from_sqlite(library: Path, error: sqlite3.Error) -> str:
    text = str(error)
    if "disk is full" in text:
        return _full(library, text)
    if "interrupted" in text:
        return f"{library}: the catalogue is damaged (reading it does not come to an end); {FROM_BACKUP}"
    if "disk I/O error" in text:
        return (
            f"{library}: the catalogue could not be read or written ({text}); {AS_IT_WAS}."
            " The disk may be full or failing: free space, run again, then `hashgrain verify`"
        )
    if "locked" in text or "busy" in text:
        return f"{library}: the catalogue is busy ({text}); try again when the other program has ended"
    if "readonly" in text:
        return f"{library} cannot be written to ({text}); check the permissions of the folder and its files"
    if "unable to open" in text:
        return (
            f"{library}: the catalogue cannot be opened ({text}); check the permissions of the folder,"
            " or open the library once where it can be written to"
        )
    return f"{library}: the catalogue is damaged ({text}); {FROM_BACKUP}"


def _from_system(library: Path, error: OSError) -> str:
    reason = error.strerror or str(error)
    what = f"{error.filename}: {reason}" if error.filename else reason
    if error.errno in FULL:
        return _full(library, what)
    if error.errno in FORBIDDEN:
        return f"{library} cannot be used as asked ({what}); check the permissions of its files"
    return f"{library}: the system refused ({what}); {AS_IT_WAS}. Run again, then `hashgrain verify`"


def _full(library: Path, reason: str) -> str:
    return f"{library}: the disk is full ({reason}); {AS_IT_WAS}. Free some space and run the command again"
