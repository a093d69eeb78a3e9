"""A batch of changes, and removals, as statements on the catalogue within the caller's transaction."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from hashgrain.errors import LibraryDamagedError, LibraryError
from hashgrain.store import catalogue
from hashgrain.store.catalogue import Counters
from hashgrain.store.change_log import Kind
from hashgrain.store.items import (
    COLUMNS,
    Moved,
    New,
    Noted,
    Replaced,
    Row,
    Touched,
    moved_row,
    noted_row,
    now,
    opened,
    row_of,
)
from hashgrain.store.redo import Step
from hashgrain.store.trouble import FROM_BACKUP

Edit = New | Replaced | Moved | Touched | Noted
MARKS = ", ".join("?" * 14)  # COLUMNS and the seal


@dataclass
class Outcome:
    """What a batch comes to: the ids of its items, and the code rows to append with the items they belong to."""

    dead: int
    ids: list[int] = field(default_factory=list)
    row_ids: list[int] = field(default_factory=list)
    codes: list[bytes] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)  # of the catalogue, as they are now
    logged: list[tuple[Kind, int]] = field(default_factory=list)  # for the log of changes

    def steps(self) -> list[Step]:
        """The same as statements of the redo log."""
        rows = {row[0]: row for row in self.rows}  # an item may change twice in a batch: the last one counts
        codes = dict(zip(self.row_ids, self.codes, strict=True))
        return [
            ("drop item", [(item,) for item in rows]),
            ("put item", list(rows.values())),
            ("drop code", [(item,) for item in codes]),
            ("put code", [(item, code, catalogue.code_seal(item, code)) for item, code in codes.items()]),
        ]


def apply(
    connection: sqlite3.Connection, library: Path, n_words: int, batch: Sequence[Edit], before: Counters
) -> Outcome:
    """Write the items and live codes of a batch; the segments are the caller's."""
    outcome = Outcome(before.dead)
    added = now()
    rows = {change.id: _row(connection, library, change.id) for change in batch if not isinstance(change, New)}
    # Names may change hands within a batch, in any order: first everyone lets go.
    movers = [change.id for change in batch if isinstance(change, (Moved, Replaced))]
    leaving = [(b"\0" + str(item).encode(), item) for item in movers]
    connection.executemany("UPDATE items SET path = ? WHERE id = ?", leaving)
    for change in batch:
        if isinstance(change, New):
            item, row = _insert(connection, library, change, added)
            outcome.rows.append(row)
        else:
            item = change.id
            rows[item] = _changed(rows[item], change)
            _update(connection, library, rows[item])
            outcome.rows.append(rows[item])
        if isinstance(change, Replaced):
            outcome.dead = _bury(connection, item, outcome.dead)
        if isinstance(change, (New, Replaced)):
            code = _code_bytes(change, n_words)
            place = before.rows + len(outcome.codes)
            seal = catalogue.code_seal(item, code)
            connection.execute("INSERT INTO rows VALUES (?, ?, ?, ?)", (place, item, code, seal))
            outcome.row_ids.append(item)
            outcome.codes.append(code)
            outcome.logged.append(("added" if isinstance(change, New) else "changed", item))
        outcome.ids.append(item)
    return outcome


def remove(connection: sqlite3.Connection, ids: Sequence[int], before: Counters) -> tuple[list[int], int]:
    """Which of the items were there, and how many rows are dead now."""
    gone, dead = [], before.dead
    for item in ids:
        dead = _bury(connection, item, dead)
        if connection.execute("DELETE FROM items WHERE id = ?", (item,)).rowcount:
            gone.append(item)
    return gone, dead


def recode(connection: sqlite3.Connection, codes: Iterable[tuple[int, bytes]]) -> None:
    """Other codes for the items; all of them, or an error."""
    rows = ((code, catalogue.code_seal(item, code), item) for item, code in codes)
    changed = connection.executemany("UPDATE rows SET code = ?, seal = ? WHERE item = ?", rows).rowcount
    (live,) = connection.execute("SELECT count(*) FROM rows").fetchone()
    if changed != live:
        raise LibraryError(f"{changed} new codes for {live} items; the library changed meanwhile. Run it again")


def renumber(connection: sqlite3.Connection) -> None:
    """Give the live rows the numbers 0, 1, 2, ... in the order of their items."""
    connection.execute("DROP TABLE IF EXISTS temp.kept")
    connection.execute("CREATE TEMP TABLE kept AS SELECT item, code, seal FROM rows ORDER BY item")
    connection.execute("DELETE FROM rows")
    connection.execute("INSERT INTO rows SELECT rowid - 1, item, code, seal FROM temp.kept ORDER BY rowid")
    connection.execute("DROP TABLE temp.kept")


def _row(connection: sqlite3.Connection, library: Path, item: int) -> Row:
    row = catalogue.item_row(connection, item)
    if row is None:
        raise LibraryError(
            f"{library} has no item {item} to change; it was removed meanwhile. Run the add again", path=library
        )
    return opened(row, library)


def _changed(row: Row, change: Replaced | Moved | Touched | Noted) -> Row:
    if isinstance(change, Replaced):
        return row_of(change, change.id, row[10])
    if isinstance(change, Noted):
        return noted_row(row, change.meta)
    path = change.path if isinstance(change, Moved) else row[1]
    return moved_row(row, path, change.stamp)


def _insert(connection: sqlite3.Connection, library: Path, change: New, added: str) -> tuple[int, Row]:
    """Ids are never used twice: a removed picture's id stays unknown forever."""
    (last,) = connection.execute(
        "SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'items'), 0)"
    ).fetchone()
    if not isinstance(last, int) or not 0 <= last < 2**63 - 1:
        raise LibraryDamagedError(
            f"{library}: the catalogue is damaged (its last id is {last!r:.40})", remedy=FROM_BACKUP, path=library
        )
    row = row_of(change, last + 1, added)
    with _fitting(library, change.path):
        connection.execute(f"INSERT INTO items ({COLUMNS}, seal) VALUES ({MARKS})", row)
    return int(last) + 1, row


def _update(connection: sqlite3.Connection, library: Path, row: Row) -> None:
    with _fitting(library, os.fsdecode(row[1])):
        connection.execute(f"UPDATE items SET ({COLUMNS}, seal) = ({MARKS}) WHERE id = ?", (*row, row[0]))


@contextmanager
def _fitting(library: Path, path: str) -> Iterator[None]:
    """A row the catalogue cannot take is the batch's fault, not the library's."""
    try:
        yield
    except (sqlite3.IntegrityError, OverflowError) as error:
        if "items.path" in str(error):
            raise LibraryError(
                f"{library}: {path} is in the library already; replace or remove that item first", path=library
            ) from error
        raise LibraryError(f"{library}: {path} cannot be kept ({error}); check its facts", path=library) from error


def _bury(connection: sqlite3.Connection, item: int, dead: int) -> int:
    """Turn the item's live row into a dead one. Dead rows are numbered from 1 without gaps."""
    for (row,) in connection.execute("SELECT row FROM rows WHERE item = ?", (item,)).fetchall():
        dead += 1
        connection.execute("INSERT INTO dead VALUES (?, ?, ?)", (dead, row, item))
        connection.execute("DELETE FROM rows WHERE row = ?", (row,))
    return dead


def _code_bytes(change: New | Replaced, n_words: int) -> bytes:
    code = np.asarray(change.code)
    if code.shape != (n_words,) or code.dtype != np.uint64:
        raise LibraryError(
            f"{change.path}: its code is {code.dtype} of shape {code.shape},"
            f" this library takes uint64 of shape ({n_words},)",
            path=change.path,
        )
    return np.ascontiguousarray(code, "<u8").tobytes()
