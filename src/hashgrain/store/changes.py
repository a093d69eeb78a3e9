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
from hashgrain.store.change_log import ChangeKind
from hashgrain.store.counters import Counters, Extent
from hashgrain.store.errors import FROM_BACKUP, MendableError
from hashgrain.store.items import (
    COLUMNS,
    ItemRow,
    MetaReplaced,
    Moved,
    New,
    PartsReplaced,
    Replaced,
    Touched,
    check_row,
    now,
    row_at_path,
    row_of,
    row_with_meta,
)
from hashgrain.store.parts import Grid, Parts, PartsRow, parts_row
from hashgrain.store.redo import Step
from hashgrain.store.spaces import PARTS, SPACES, WHOLE, Space, ids_of

Edit = New | Replaced | Moved | Touched | MetaReplaced | PartsReplaced
MARKS = ", ".join("?" * 14)  # COLUMNS and the checksum


@dataclass
class Tail:
    """The changes of a batch to one row space: the rows to append, and the count of entries that die."""

    extent: Extent  # grows as the batch is applied
    ids: list[int] = field(default_factory=list)  # of the rows to append, as in the segments
    codes: list[bytes] = field(default_factory=list)

    def append(self, ids: Iterable[int], code: bytes) -> int:
        """Add rows; returns the number of the first one."""
        row = self.extent.rows
        self.ids += ids
        self.codes.append(code)
        return row

    def next_deleted(self) -> int:
        """Count one more dead entry; returns its number. They are numbered from 1 without gaps."""
        self.extent = self.extent._replace(dead=self.extent.dead + 1)
        return self.extent.dead


@dataclass
class Outcome:
    """The result of a batch: the ids of its items, and what goes into segments, redo log and log of changes."""

    tails: dict[Space, Tail]
    ids: list[int] = field(default_factory=list)
    codes: dict[int, bytes] = field(default_factory=dict)
    parts: dict[int, PartsRow | None] = field(default_factory=dict)  # of the items whose parts changed
    rows: dict[int, ItemRow] = field(default_factory=dict)  # of the items, as the catalogue has them now
    logged: list[tuple[ChangeKind, int]] = field(default_factory=list)  # for the log of changes

    def steps(self) -> list[Step]:
        """The batch as statements of the redo log. If an item changes twice in a batch, the last change counts."""
        codes, parts = self.codes.items(), [entry for entry in self.parts.values() if entry is not None]
        steps: list[Step] = [
            ("drop item", [(item,) for item in self.rows]),
            ("put item", list(self.rows.values())),
            ("drop code", [(item,) for item in self.codes]),
            ("put code", [(item, code, catalogue.code_checksum(item, code)) for item, code in codes]),
        ]
        if self.parts:
            steps += [("drop parts", [(item,) for item in self.parts]), ("put parts", parts)]
        return steps


class Batch:
    """Writes edits into the catalogue, within the caller's transaction. The caller writes the segments."""

    def __init__(
        self, connection: sqlite3.Connection, library: Path, n_words: int, grid: Grid | None, before: Counters
    ) -> None:
        self.connection = connection
        self.library = library
        self.n_words = n_words
        self.grid = grid
        self.added = now()
        self.outcome = Outcome({space: Tail(before.extent_of(space)) for space in SPACES})

    def apply(self, edits: Sequence[Edit]) -> Outcome:
        """Write the items and live codes of all edits."""
        ids = {edit.id for edit in edits if not isinstance(edit, New)}
        rows = {item: _read_row(self.connection, self.library, item) for item in ids}
        # Items may swap paths within a batch, in any order, so all of them give up theirs first.
        movers = [edit.id for edit in edits if isinstance(edit, (Moved, Replaced))]
        leaving = [(b"\0" + str(item).encode(), item) for item in movers]
        self.connection.executemany("UPDATE items SET path = ? WHERE id = ?", leaving)
        for edit in edits:
            if isinstance(edit, New):
                item, row = _insert(self.connection, self.library, edit, self.added)
                self.outcome.rows[item] = row
            else:
                item = edit.id
                if not isinstance(edit, PartsReplaced):
                    self.outcome.rows[item] = rows[item] = _edited_row(rows[item], edit)
                    _update(self.connection, self.library, rows[item])
            self._set_codes(edit, item)
            self.outcome.ids.append(item)
        return self.outcome

    def _set_codes(self, edit: Edit, item: int) -> None:
        """Write the codes that an edit gives its item and the item's parts."""
        if isinstance(edit, (New, Replaced)):
            self._set_code(item, _code_bytes(edit, self.n_words), isinstance(edit, Replaced))
            self._set_parts(item, edit.parts, edit.path)
            self.outcome.logged.append(("added" if isinstance(edit, New) else "changed", item))
        elif isinstance(edit, PartsReplaced) and self._set_parts(item, edit.parts, f"{self.library}: item {item}"):
            self.outcome.logged.append(("changed", item))

    def _set_code(self, item: int, code: bytes, replaced: bool) -> None:
        tail = self.outcome.tails[WHOLE]
        if replaced:
            mark_deleted(self.connection, self.library, self.n_words, WHOLE, item, tail)
        checksum = catalogue.code_checksum(item, code)
        row = tail.append([item], code)
        self.connection.execute("INSERT INTO rows VALUES (?, ?, ?, ?)", (row, item, code, checksum))
        tail.extent = tail.extent._replace(rows=row + 1)
        self.outcome.codes[item] = code

    def _set_parts(self, item: int, parts: Parts | None, name: str) -> bool:
        """Replace the parts of an item; returns whether anything changed. Most libraries have no parts."""
        tail = self.outcome.tails[PARTS]
        had_parts = bool(tail.extent.rows) and mark_deleted(
            self.connection, self.library, self.n_words, PARTS, item, tail
        )
        if parts is not None:
            entry = parts_row(parts, item, self.n_words, self.grid, name)
            row = tail.append(ids_of(PARTS, item, len(parts)), entry[2])
            self.connection.execute("INSERT INTO parts VALUES (?, ?, ?, ?, ?, ?)", (row, *entry))
            tail.extent = tail.extent._replace(rows=row + len(parts))
            self.outcome.parts[item] = entry
        elif had_parts:
            self.outcome.parts[item] = None
        return had_parts or parts is not None


def remove(
    connection: sqlite3.Connection, library: Path, n_words: int, ids: Sequence[int], before: Counters
) -> tuple[list[int], Counters]:
    """Remove items; returns the ids of those that existed, and the counters without them."""
    tails = {space: Tail(before.extent_of(space)) for space in SPACES if before.extent_of(space).rows}
    removed = []
    for item in ids:
        for space, tail in tails.items():
            mark_deleted(connection, library, n_words, space, item, tail)
        if connection.execute("DELETE FROM items WHERE id = ?", (item,)).rowcount:
            removed.append(item)
    after = before
    for space, tail in tails.items():
        after = after.with_extent(space, tail.extent)
    return removed, after


def mark_deleted(
    connection: sqlite3.Connection, library: Path, n_words: int, space: Space, item: int, tail: Tail
) -> bool:
    """Turn the item's live entry into a dead one; returns whether it had one."""
    length = f"{space.length}, length(code) = 8 * ? * {space.length}"
    entry = connection.execute(f"SELECT row, {length} FROM {space.codes} WHERE item = ?", (n_words, item)).fetchone()
    if entry is None:
        return False
    row, rows, intact = entry
    if space is not WHOLE and not (intact and isinstance(rows, int) and rows > 0):  # which rows are its own is unknown
        raise MendableError(library, library / catalogue.NAME, f"the parts of item {item} are damaged")
    values = (tail.next_deleted(), row, item) if space is WHOLE else (tail.next_deleted(), row, item, rows)
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
    """Replace the codes of all items; raise if any is missing. All old parts are dropped, since they are of another
    model. `grid` has the positions of the new ones."""
    code_rows = ((code, catalogue.code_checksum(item, code), item) for item, code in codes)
    changed = connection.executemany("UPDATE rows SET code = ?, seal = ? WHERE item = ?", code_rows).rowcount
    (live,) = connection.execute("SELECT count(*) FROM rows").fetchone()
    if changed != live:
        raise LibraryError(f"{changed} new codes for {live} items; the library changed meanwhile. Run it again")
    connection.execute("DELETE FROM parts")
    row = 0
    for item, item_parts in parts:
        entry = parts_row(item_parts, item, n_words, grid, f"item {item}")
        connection.execute("INSERT INTO parts VALUES (?, ?, ?, ?, ?, ?)", (row, *entry))
        row += len(item_parts)


def renumber(connection: sqlite3.Connection, space: Space) -> None:
    """Number the live entries 0, 1, 2, ... in the order of their items."""
    columns = ("code", "seal") if space is WHOLE else ("rows", "code", "positions", "seal")
    column_list = ", ".join(("item", *columns))
    row = "rowid - 1" if space is WHOLE else "sum(rows) OVER (ORDER BY rowid) - rows"
    connection.execute("DROP TABLE IF EXISTS temp.renumbered")
    connection.execute(f"CREATE TEMP TABLE renumbered AS SELECT {column_list} FROM {space.codes} ORDER BY item")
    connection.execute(f"DELETE FROM {space.codes}")
    connection.execute(f"INSERT INTO {space.codes} SELECT {row}, {column_list} FROM temp.renumbered ORDER BY rowid")
    connection.execute("DROP TABLE temp.renumbered")


def _read_row(connection: sqlite3.Connection, library: Path, item: int) -> ItemRow:
    row = catalogue.item_row(connection, item)
    if row is None:
        raise LibraryError(
            f"{library} has no item {item} to change; it was removed meanwhile. Run the add again", path=library
        )
    return check_row(row, library)


def _edited_row(row: ItemRow, change: Replaced | Moved | Touched | MetaReplaced) -> ItemRow:
    if isinstance(change, Replaced):
        return row_of(change, change.id, row[10])
    if isinstance(change, MetaReplaced):
        return row_with_meta(row, change.meta)
    path = change.path if isinstance(change, Moved) else row[1]
    return row_at_path(row, path, change.stamp)


def _insert(connection: sqlite3.Connection, library: Path, change: New, added: str) -> tuple[int, ItemRow]:
    """Ids are never used twice: a removed picture's id stays unknown forever."""
    (last,) = connection.execute(
        "SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'items'), 0)"
    ).fetchone()
    if not isinstance(last, int) or not 0 <= last < 2**63 - 1:
        raise LibraryDamagedError(
            f"{library}: the catalogue is damaged (its last id is {last!r:.40})", remedy=FROM_BACKUP, path=library
        )
    row = row_of(change, last + 1, added)
    with _translate_row_errors(library, change.path):
        connection.execute(f"INSERT INTO items ({COLUMNS}, seal) VALUES ({MARKS})", row)
    return int(last) + 1, row


def _update(connection: sqlite3.Connection, library: Path, row: ItemRow) -> None:
    with _translate_row_errors(library, os.fsdecode(row[1])):
        connection.execute(f"UPDATE items SET ({COLUMNS}, seal) = ({MARKS}) WHERE id = ?", (*row, row[0]))


@contextmanager
def _translate_row_errors(library: Path, path: str) -> Iterator[None]:
    """A row that the catalogue cannot take is a fault of the batch, not damage to the library."""
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
