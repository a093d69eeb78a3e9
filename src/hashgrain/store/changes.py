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
from hashgrain.store.change_log import Kind
from hashgrain.store.counters import Counters, Extent
from hashgrain.store.errors import FROM_BACKUP, MendableError
from hashgrain.store.items import (
    COLUMNS,
    Moved,
    New,
    Noted,
    Parted,
    Replaced,
    Row,
    Touched,
    moved_row,
    noted_row,
    now,
    opened,
    row_of,
)
from hashgrain.store.parts import Entry, Grid, Parts, entry_of
from hashgrain.store.redo import Step
from hashgrain.store.spaces import PARTS, SPACES, WHOLE, Space, ids_of

Edit = New | Replaced | Moved | Touched | Noted | Parted
MARKS = ", ".join("?" * 14)  # COLUMNS and the seal


@dataclass
class Tail:
    """What a batch does to one row space: the rows that come behind the others, and the entries that die."""

    extent: Extent  # grows as the batch is applied
    ids: list[int] = field(default_factory=list)  # of the rows to append, as the segments have them
    codes: list[bytes] = field(default_factory=list)

    def append(self, ids: Iterable[int], code: bytes) -> int:
        """The row where these begin."""
        row = self.extent.rows
        self.ids += ids
        self.codes.append(code)
        return row

    def bury(self) -> int:
        """The number of the next entry that dies; they are numbered from 1 without gaps."""
        self.extent = self.extent._replace(dead=self.extent.dead + 1)
        return self.extent.dead


@dataclass
class Outcome:
    """What a batch comes to: the ids of its items, and what of it goes into segments, redo log and log of changes."""

    tails: dict[Space, Tail]
    ids: list[int] = field(default_factory=list)
    codes: dict[int, bytes] = field(default_factory=dict)
    parts: dict[int, Entry | None] = field(default_factory=dict)  # of the items whose parts changed
    rows: dict[int, Row] = field(default_factory=dict)  # of the catalogue, as they are now
    logged: list[tuple[Kind, int]] = field(default_factory=list)  # for the log of changes

    def steps(self) -> list[Step]:
        """The same as statements of the redo log. An item may change twice in a batch: the last change counts."""
        codes, parts = self.codes.items(), [entry for entry in self.parts.values() if entry is not None]
        steps: list[Step] = [
            ("drop item", [(item,) for item in self.rows]),
            ("put item", list(self.rows.values())),
            ("drop code", [(item,) for item in self.codes]),
            ("put code", [(item, code, catalogue.code_seal(item, code)) for item, code in codes]),
        ]
        if self.parts:
            steps += [("drop parts", [(item,) for item in self.parts]), ("put parts", parts)]
        return steps


class Batch:
    """Edits on their way into the catalogue, within the caller's transaction; the segments are the caller's."""

    def __init__(
        self, connection: sqlite3.Connection, library: Path, n_words: int, grid: Grid | None, before: Counters
    ) -> None:
        self.connection = connection
        self.library = library
        self.n_words = n_words
        self.grid = grid
        self.added = now()
        self.outcome = Outcome({space: Tail(before.of(space)) for space in SPACES})

    def apply(self, edits: Sequence[Edit]) -> Outcome:
        """Write the items and live codes of all edits."""
        ids = {edit.id for edit in edits if not isinstance(edit, New)}
        rows = {item: _row(self.connection, self.library, item) for item in ids}
        # Names may change hands within a batch, in any order: first everyone lets go.
        movers = [edit.id for edit in edits if isinstance(edit, (Moved, Replaced))]
        leaving = [(b"\0" + str(item).encode(), item) for item in movers]
        self.connection.executemany("UPDATE items SET path = ? WHERE id = ?", leaving)
        for edit in edits:
            if isinstance(edit, New):
                item, row = _insert(self.connection, self.library, edit, self.added)
                self.outcome.rows[item] = row
            else:
                item = edit.id
                if not isinstance(edit, Parted):
                    self.outcome.rows[item] = rows[item] = _changed(rows[item], edit)
                    _update(self.connection, self.library, rows[item])
            self._set_codes(edit, item)
            self.outcome.ids.append(item)
        return self.outcome

    def _set_codes(self, edit: Edit, item: int) -> None:
        """What an edit says of the codes of its item, and of its parts."""
        if isinstance(edit, (New, Replaced)):
            self._set_code(item, _code_bytes(edit, self.n_words), isinstance(edit, Replaced))
            self._set_parts(item, edit.parts, edit.path)
            self.outcome.logged.append(("added" if isinstance(edit, New) else "changed", item))
        elif isinstance(edit, Parted) and self._set_parts(item, edit.parts, f"{self.library}: item {item}"):
            self.outcome.logged.append(("changed", item))

    def _set_code(self, item: int, code: bytes, replaced: bool) -> None:
        tail = self.outcome.tails[WHOLE]
        if replaced:
            bury(self.connection, self.library, self.n_words, WHOLE, item, tail)
        seal = catalogue.code_seal(item, code)
        row = tail.append([item], code)
        self.connection.execute("INSERT INTO rows VALUES (?, ?, ?, ?)", (row, item, code, seal))
        tail.extent = tail.extent._replace(rows=row + 1)
        self.outcome.codes[item] = code

    def _set_parts(self, item: int, parts: Parts | None, name: str) -> bool:
        """Whether there was anything to do: most libraries have no parts."""
        tail = self.outcome.tails[PARTS]
        had = bool(tail.extent.rows) and bury(self.connection, self.library, self.n_words, PARTS, item, tail)
        if parts is not None:
            entry = entry_of(parts, item, self.n_words, self.grid, name)
            row = tail.append(ids_of(PARTS, item, len(parts)), entry[2])
            self.connection.execute("INSERT INTO parts VALUES (?, ?, ?, ?, ?, ?)", (row, *entry))
            tail.extent = tail.extent._replace(rows=row + len(parts))
            self.outcome.parts[item] = entry
        elif had:
            self.outcome.parts[item] = None
        return had or parts is not None


def remove(
    connection: sqlite3.Connection, library: Path, n_words: int, ids: Sequence[int], before: Counters
) -> tuple[list[int], Counters]:
    """Which of the items were there, and where the catalogue stands without them."""
    tails = {space: Tail(before.of(space)) for space in SPACES if before.of(space).rows}
    gone = []
    for item in ids:
        for space, tail in tails.items():
            bury(connection, library, n_words, space, item, tail)
        if connection.execute("DELETE FROM items WHERE id = ?", (item,)).rowcount:
            gone.append(item)
    after = before
    for space, tail in tails.items():
        after = after.grown(space, tail.extent)
    return gone, after


def bury(connection: sqlite3.Connection, library: Path, n_words: int, space: Space, item: int, tail: Tail) -> bool:
    """Turn the item's live entry into a dead one; whether it had one."""
    length = f"{space.length}, length(code) = 8 * ? * {space.length}"
    found = connection.execute(f"SELECT row, {length} FROM {space.codes} WHERE item = ?", (n_words, item)).fetchone()
    if found is None:
        return False
    row, rows, whole = found
    if space is not WHOLE and not (
        whole and isinstance(rows, int) and rows > 0
    ):  # its rows could not be told from those of others
        raise MendableError(library, library / catalogue.NAME, f"the parts of item {item} are damaged")
    values = (tail.bury(), row, item) if space is WHOLE else (tail.bury(), row, item, rows)
    connection.execute(f"INSERT INTO {space.dead} VALUES ({', '.join('?' * len(values))})", values)
    connection.execute(f"DELETE FROM {space.codes} WHERE row = ?", (row,))
    return True


def recode(
    connection: sqlite3.Connection,
    codes: Iterable[tuple[int, bytes]],
    parts: Iterable[tuple[int, Parts]],
    n_words: int,
    grid: Grid | None,
) -> None:
    """Other codes for the items; all of them, or an error. Parts that they had are of another model, and `grid` is
    where those that come lie."""
    rows = ((code, catalogue.code_seal(item, code), item) for item, code in codes)
    changed = connection.executemany("UPDATE rows SET code = ?, seal = ? WHERE item = ?", rows).rowcount
    (live,) = connection.execute("SELECT count(*) FROM rows").fetchone()
    if changed != live:
        raise LibraryError(f"{changed} new codes for {live} items; the library changed meanwhile. Run it again")
    connection.execute("DELETE FROM parts")
    place = 0
    for item, some in parts:
        entry = entry_of(some, item, n_words, grid, f"item {item}")
        connection.execute("INSERT INTO parts VALUES (?, ?, ?, ?, ?, ?)", (place, *entry))
        place += len(some)


def renumber(connection: sqlite3.Connection, space: Space) -> None:
    """Give the live entries the rows 0, 1, 2, ... in the order of their items."""
    columns = ("code", "seal") if space is WHOLE else ("rows", "code", "positions", "seal")
    kept = ", ".join(("item", *columns))
    row = "rowid - 1" if space is WHOLE else "sum(rows) OVER (ORDER BY rowid) - rows"
    connection.execute("DROP TABLE IF EXISTS temp.kept")
    connection.execute(f"CREATE TEMP TABLE kept AS SELECT {kept} FROM {space.codes} ORDER BY item")
    connection.execute(f"DELETE FROM {space.codes}")
    connection.execute(f"INSERT INTO {space.codes} SELECT {row}, {kept} FROM temp.kept ORDER BY rowid")
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


def _code_bytes(change: New | Replaced, n_words: int) -> bytes:
    code = np.asarray(change.code)
    if code.shape != (n_words,) or code.dtype != np.uint64:
        raise LibraryError(
            f"{change.path}: its code is {code.dtype} of shape {code.shape},"
            f" this library takes uint64 of shape ({n_words},)",
            path=change.path,
        )
    return np.ascontiguousarray(code, "<u8").tobytes()
