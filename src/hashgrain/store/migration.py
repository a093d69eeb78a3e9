"""Migration from an older format to the newest, and back to the previous format if it can hold the library.

Each migration is one SQLite transaction: killed at any point, the library has either the old or the new format.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hashgrain import inside
from hashgrain.errors import LibraryError, LibraryFormatError
from hashgrain.store import catalogue, page_checksums, redo, schema
from hashgrain.store.errors import translate_errors
from hashgrain.store.lock import WriterLock
from hashgrain.store.readers import roll_back
from hashgrain.store.store import Store

if TYPE_CHECKING:
    from hashgrain.store.writer import Writer


@dataclass(frozen=True)
class Migration:
    """A finished migration: the formats before and after, which are equal if there was nothing to do."""

    old: int
    new: int
    items: int


def migrate(path: str | os.PathLike[str]) -> Migration:
    """Upgrade a library to the newest format, as its next writer would do."""
    folder = Path(os.path.abspath(path))
    old, items = _format_and_items(folder)
    with Store.open(folder, "w") as store:
        return Migration(old, store.info()["format"], items)


def undo(path: str | os.PathLike[str]) -> Migration:
    """Take a library back to the previous format; refused if that format cannot hold the library."""
    from hashgrain.store.writer import Writer  # loaded on first use, like all that changes a library

    folder = Path(os.path.abspath(path))
    old, items = _format_and_items(folder)
    with translate_errors(folder):
        if old <= schema.OLDEST:
            message = f"{folder} has format {old}, the oldest that is read"
            raise LibraryFormatError(message, path=folder, remedy="there is no format to go back to")
        lock = WriterLock(folder)
        try:
            writer = Writer(folder, upgrading=False)
            try:
                _downgrade(writer, folder, old)
            finally:
                writer.close()
            if old == page_checksums.SINCE:  # format 2 does not use it
                with suppress(FileNotFoundError):
                    inside.remove(folder, redo.NAME)
        finally:
            lock.release()
    return Migration(old, old - 1, items)


def _format_and_items(folder: Path) -> tuple[int, int]:
    """The present format of a library, and how many items it has."""
    with Store.open(folder) as store:
        facts = store.info()
    return facts["format"], facts["items"]


def _downgrade(writer: Writer, folder: Path, version: int) -> None:
    connection = writer.connection
    if connection.version != version:
        raise LibraryError(f"{folder} was converted by another program meanwhile", path=folder, remedy="try again")
    if not writer.fold():
        message = f"{folder} is being read by another program"
        raise LibraryError(message, path=folder, remedy="try again when the other program has ended")
    if version == page_checksums.SINCE:  # before the transaction, since format 2 updates neither and both become stale
        writer.redo.forget()  # without the count of commits in the catalogue, all of them would seem lost
        page_checksums.forget(folder)
    connection.execute("BEGIN IMMEDIATE")
    try:
        _check_nothing_lost(writer, folder, version)
        schema.downgrade(connection, version)
        if not schema.is_ours(connection, version - 1):
            raise LibraryError(f"{folder} cannot be taken back by SQLite here; use a newer one", path=folder)
        connection.execute("COMMIT")
    except BaseException:
        roll_back(connection)
        raise
    connection.version = version - 1
    writer.fold()


def _check_nothing_lost(writer: Writer, folder: Path, version: int) -> None:
    """Raise if the previous format cannot hold the library."""
    for query, what in schema.MORE[version]:
        (count,) = writer.connection.execute(query).fetchone()
        if count:
            message = (
                f"{folder} stays in format {version}: it has {count} {what}, which format {version - 1} cannot hold"
            )
            raise LibraryFormatError(message, path=folder, remedy="remove them first")
    facts = catalogue.library_facts(writer.connection, folder)
    if facts.grid is not None:
        catalogue.set_grid(writer.connection, folder, facts, None)
