"""Putting back what an undo file names. The files themselves show what was done, and nothing is written over."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from hashgrain.apps.duplicates import moving
from hashgrain.apps.duplicates.checks import look_of
from hashgrain.apps.duplicates.undo_file import Entry, Header, read_undo_file
from hashgrain.errors import LibraryError
from hashgrain.files import sha256_of
from hashgrain.library import Library
from hashgrain.sources import Refused, Source
from hashgrain.sources.source import read_capped
from hashgrain.types import PathLike

Told = Callable[[int], None]


@dataclass(frozen=True)
class UndoReport:
    """What became of each file that the undo file names."""

    restored: tuple[str, ...]  # put back, and in the library again
    in_place: int  # that were never moved, or are back already
    refused: tuple[Refused, ...]  # that could not be put back, with the reasons


class _RefusedError(Exception):
    """Why a file is not put back."""


def undo(library: Library, file: PathLike, *, progress: Told | None = None) -> UndoReport:
    """Put back the files that an undo file names, and add them to the library again, with their metadata.

    A file whose old path was taken since, or that is gone or changed where it was moved to, is refused and stays where
    it is. Undoing twice does no harm. The library must be open for writing.
    """
    header, entries = read_undo_file(file)
    _check_library(library, header, file)
    restored: list[Entry] = []
    in_place: list[Entry] = []
    refused: list[Refused] = []
    for number, entry in enumerate(reversed(entries), 1):
        try:
            (restored if _put_back(entry, header.action) else in_place).append(entry)
        except _RefusedError as error:
            refused.append(Refused(entry.path, str(error)))
        except OSError as error:
            refused.append(Refused(entry.path, (error.strerror or str(error)).lower()))
        if progress:
            progress(number)
    if header.action == "delete":
        _remove_empty({os.path.dirname(entry.target) for entry in entries})
    if header.action != "link":
        library.store.include([entry.target for entry in restored])
    unknown = [entry for entry in in_place if library.store.known(entry.path) is None]  # of an undo that was stopped
    if restored or unknown:
        report = library.add([_source(entry) for entry in (*restored, *unknown)])
        refused += [Refused(each.path, f"was put back, but not added: {each.reason}") for each in report.refused]
    return UndoReport(tuple(sorted(entry.path for entry in restored)), len(in_place), tuple(refused))


def _remove_empty(folders: Iterable[str]) -> None:
    """Remove folders of the trash that are empty again, and the trash with the last of them."""
    with suppress(OSError):
        for folder in folders:
            os.rmdir(folder)
            os.rmdir(os.path.dirname(folder))


def _check_library(library: Library, header: Header, file: PathLike) -> None:
    with library.store.snapshot() as snapshot:
        history = snapshot.history()
    if header.history != history and header.library != os.path.realpath(library.path):
        name = os.fspath(file)
        raise LibraryError(f"{name} is of the library {header.library}, not of {library.path}", path=file)
    if library.store.mode != "w":
        raise LibraryError(f"{library.path} is open for reading; open it with 'w' to undo", path=library.path)


def _put_back(entry: Entry, action: str) -> bool:
    """Put one file back; False where it is at its place."""
    return _unlinked(entry) if action == "link" else _moved_back(entry)


def _moved_back(entry: Entry) -> bool:
    if os.path.lexists(entry.path) and not _is_empty(entry.path):
        if not _holds(entry.path, entry.content):
            raise _RefusedError(f"another file is there now; its own is {entry.target}")
        if _is_empty(entry.target):  # held the name for a move that was never made
            os.unlink(entry.target)
        return False
    if not os.path.lexists(entry.target):
        raise _RefusedError(f"{entry.target} is gone")
    if not _holds(entry.target, entry.content):
        raise _RefusedError(f"{entry.target} has changed since it was moved there")
    os.makedirs(os.path.dirname(entry.path), exist_ok=True)
    with suppress(FileExistsError):  # an empty file of an undo that was stopped
        moving.hold(entry.path)
    try:
        moving.move(entry.target, entry.path, look_of(os.lstat(entry.target)))
    finally:
        if _is_empty(entry.path):
            os.unlink(entry.path)
    return True


def _unlinked(entry: Entry) -> bool:
    if not os.path.lexists(entry.path):
        raise _RefusedError("is gone")
    if not os.path.exists(entry.target) or not os.path.samefile(entry.path, entry.target):
        return False
    if os.path.islink(entry.path) or not _holds(entry.path, entry.content):
        raise _RefusedError("has changed since it became a link")
    moving.unlink_from_others(entry.path, entry.mode, entry.mtime_ns)
    return True


def _is_empty(path: str) -> bool:
    try:
        status = os.lstat(path)
    except OSError:
        return False
    return stat.S_ISREG(status.st_mode) and status.st_size == 0


def _holds(path: str, content: str) -> bool:
    return os.path.isfile(path) and not os.path.islink(path) and sha256_of(path) == content


def _source(entry: Entry) -> Source:
    status = os.stat(entry.path)
    return Source(entry.path, partial(read_capped, entry.path), (status.st_size, status.st_mtime_ns), dict(entry.meta))
