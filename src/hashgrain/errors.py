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
    """The parent of every error we raise on purpose. Its text is fit to show to a person."""

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
    """Codes that do not fit: another width, other grains, a damaged file, NaN outputs."""

    code = "codes"


class ImageError(HashgrainError):
    """A picture we refuse: unreadable, truncated, too large, of a format we do not open."""

    code = "image"


class ImageTooLargeError(ImageError):
    """A picture with more pixels, or in need of more memory, than the limits allow."""

    code = "image_too_large"

    def __init__(self, message: str = "", *, path: object = None, remedy: str | None = RAISE_MAX_PIXELS) -> None:
        super().__init__(message, path=path, remedy=remedy)


class BundleError(HashgrainError):
    """A model bundle we refuse: missing, damaged, altered, too large, of a newer format."""

    code = "bundle"


class BundleMissingError(BundleError):
    """There is no model bundle at the place named."""

    code = "bundle_missing"


class LibraryError(HashgrainError):
    """A library we cannot use as asked. The children say why, where a caller would act on it."""

    code = "library"


class LibraryMissingError(LibraryError):
    """There is no library at the place named."""

    code = "library_missing"


class LibraryExistsError(LibraryError):
    """There is a library, or something else, where one was to be made."""

    code = "library_exists"


class LibraryDamagedError(LibraryError):
    """What is on disk does not fit its checksums, its counts or its format."""

    code = "library_damaged"


class LibraryLockedError(LibraryError):
    """Another program writes to the library now; the same call may do later."""

    code = "library_locked"


class LibraryFormatError(LibraryError):
    """The library is of a format that this version does not read."""

    code = "library_format"


class LibraryForbiddenError(LibraryError):
    """The system does not let us read or write the library's files."""

    code = "library_forbidden"


class DiskFullError(LibraryError):
    """There is no room for what was to be written; the library is as it was."""

    code = "disk_full"


class OtherModelError(LibraryError):
    """The codes are of another model: distances between codes of two models mean nothing."""

    code = "other_model"


class QueryError(HashgrainError):
    """A question that makes no sense here: unknown grain, k out of range."""

    code = "query"


class ItemMissingError(QueryError):
    """The library has no such item."""

    code = "item_missing"


class FilterError(QueryError):
    """A `where` expression that does not parse, or compares what cannot be compared."""

    code = "filter"


class SourceError(HashgrainError):
    """A source of pictures that cannot be used: missing, unreadable, not an archive we know."""

    code = "source"


class TrainingError(HashgrainError):
    """Training that cannot start or go on: data without labels, a loss that is not a number."""

    code = "training"


class EvaluationError(HashgrainError):
    """Figures that cannot be had: labels of another length, an unknown protocol, data that changed, NaN features."""

    code = "evaluation"


class WorkerError(HashgrainError):
    """A process of our own that cannot be started, so that nothing is known of the pictures it was for."""

    code = "worker"


class EngineError(HashgrainError):
    """An engine that cannot be asked: unknown, ahead of its library or not able to follow it, of another library."""

    code = "engine"


def reason_of(error: Exception) -> str:
    """What went wrong, without the remedy: for a message that has one of its own."""
    return error.message if isinstance(error, HashgrainError) else str(error)


def _text(value: object) -> str:
    return os.fsdecode(value) if isinstance(value, (str, bytes, os.PathLike)) else str(value)
