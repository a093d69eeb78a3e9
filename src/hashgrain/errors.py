"""What can go wrong: a family of exceptions for each kind of thing, each with a stable code.

    try:
        library = Library.open("photos.hg")
    except LibraryError as error:
        print(error)           # the message, with the remedy where one is known
        print(error.code)      # such as "library_missing": it stays, whatever the message says
        print(error.path)      # what could not be used, or None
        print(error.remedy)    # what to do, or None

A message speaks of the library. Where a remedy is a command, its `key` says which; the command line has the words.
"""

from __future__ import annotations

import os
from typing import ClassVar


class Remedy(str):
    """What to do, in the library's words; `key` and `values` let a caller say it in its own.

    A plain string for everyone else: it is joined, printed and compared as its text.
    """

    key: str
    values: dict[str, str]

    def __new__(cls, text: str, key: str = "", **values: object) -> Remedy:
        made = super().__new__(cls, text)
        made.key = key
        made.values = {name: _text(value) for name, value in values.items()}
        return made


class HashgrainError(Exception):
    """The parent of every error that HashGrain raises on purpose. Its text is fit to show to a user."""

    code: ClassVar[str] = "error"

    def __init__(self, message: str = "", *, path: object = None, remedy: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.path = None if path is None else _text(path)
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.message}; {self.remedy}" if self.remedy else self.message


RAISE_MAX_PIXELS = Remedy("raise the limit max_pixels if you trust it", "raise_max_pixels")


class CodesError(HashgrainError):
    """Codes that do not match: another width, other grains, a damaged file, NaN outputs."""

    code = "codes"


class ImageError(HashgrainError):
    """A picture that is refused: unreadable, truncated, too large, or of an unsupported format."""

    code = "image"


class ImageTooLargeError(ImageError):
    """A picture with more pixels than the limits allow, or whose decoding needs more memory."""

    code = "image_too_large"

    def __init__(self, message: str = "", *, path: object = None, remedy: str | None = RAISE_MAX_PIXELS) -> None:
        super().__init__(message, path=path, remedy=remedy)


class SoundError(ImageError):
    """A recording that is refused. It is caught as an ImageError: it is a file of the library's medium."""

    code = "sound"


class BundleError(HashgrainError):
    """A model bundle that is refused: missing, damaged, altered, too large, or of a newer format."""

    code = "bundle"


class BundleMissingError(BundleError):
    """There is no model bundle at this path."""

    code = "bundle_missing"


class LibraryError(HashgrainError):
    """A library that cannot be used. The subclasses give the reason, if a caller can act on it."""

    code = "library"


class LibraryMissingError(LibraryError):
    """There is no library at this path."""

    code = "library_missing"


class LibraryExistsError(LibraryError):
    """The path of a new library is in use, by a library or something else."""

    code = "library_exists"


class LibraryDamagedError(LibraryError):
    """The files of the library do not match their checksums, counts or format."""

    code = "library_damaged"


class LibraryLockedError(LibraryError):
    """Another program is writing to the library. The same call may succeed later."""

    code = "library_locked"


class LibraryFormatError(LibraryError):
    """The library has a format that this version does not read."""

    code = "library_format"


class LibraryForbiddenError(LibraryError):
    """The system does not permit reading or writing the library's files."""

    code = "library_forbidden"


class DiskFullError(LibraryError):
    """There is no space left on the disk. The library is unchanged."""

    code = "disk_full"


class OtherModelError(LibraryError):
    """The codes are from another model. Distances between codes of two models mean nothing."""

    code = "other_model"


class LibraryReplacedError(LibraryError):
    """Another library stands in its place since it was opened."""

    code = "library_replaced"


class QueryError(HashgrainError):
    """An invalid query: unknown grain, k out of range."""

    code = "query"


class ItemMissingError(QueryError):
    """The library has no such item."""

    code = "item_missing"


class FilterError(QueryError):
    """A `where` expression that does not parse, or compares what cannot be compared."""

    code = "filter"


class SourceError(HashgrainError):
    """A source of pictures that cannot be used: missing, unreadable, or an unknown kind of archive."""

    code = "source"


class TrainingError(HashgrainError):
    """Training that cannot start or continue: data without labels, a loss that is not a number."""

    code = "training"


class EvaluationError(HashgrainError):
    """Figures that cannot be computed: labels of another length, an unknown protocol, changed data, NaN features."""

    code = "evaluation"


class WorkerError(HashgrainError):
    """A worker process that cannot be started, so nothing is known about its pictures."""

    code = "worker"


class EngineError(HashgrainError):
    """An engine that cannot be asked: unknown, ahead of its library or not able to follow it, of another library."""

    code = "engine"


class BackupError(HashgrainError):
    """A backup that cannot be made, read or restored."""

    code = "backup"


class ServerError(HashgrainError):
    """A server that cannot start, cannot be reached, or gives no answer."""

    code = "server"


def reason_of(error: Exception) -> str:
    """What went wrong, without the remedy: for a message that has one of its own."""
    return error.message if isinstance(error, HashgrainError) else str(error)


def _text(value: object) -> str:
    return os.fsdecode(value) if isinstance(value, (str, bytes, os.PathLike)) else str(value)
