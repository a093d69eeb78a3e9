"""`Store`: a library on disk. One writer and many readers; what it says is done stays done."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from hashgrain.codes import Grains
from hashgrain.errors import LibraryError
from hashgrain.store import catalogue, changes, disk, segments, verify
from hashgrain.store.catalogue import Block, Connection, Counters
from hashgrain.store.items import COLUMNS, Item, Moved, New, Problem, Replaced, Touched, encode_path, item_of
from hashgrain.store.lock import NAME as LOCK
from hashgrain.store.lock import WriterLock
from hashgrain.store.segments import SEGMENT_ROWS, Place
from hashgrain.store.snapshot import Snapshot, View, view_of
from hashgrain.store.trouble import FROM_BACKUP, MendableError, told

NOT_CONTENT = {".DS_Store", "Thumbs.db", "desktop.ini", "lost+found", LOCK, segments.FOLDER}
REBUILD_ROWS = 65_536  # rows in memory, and in a block, while segments are written anew
TRIES = 10  # a reader that meets a rebuild looks again; ten rebuilds in a row it has not seen yet


class Store:
    """A library opened for reading ("r") or writing ("w"). May be used from several threads.

    The catalogue is the truth. A commit appends to the segment files, flushes them, and then commits the
    SQLite transaction that says how much of them counts: a crash leaves at most bytes that do not count.
    """

    def __init__(self, path: Path, mode: Literal["r", "w"], lock: WriterLock | None) -> None:
        """Use `Store.open` or `Store.create`."""
        self.path = path
        self.mode = mode
        self.segment_rows = SEGMENT_ROWS
        self._lock = lock
        self._writing = threading.RLock()
        self._looking = threading.Lock()
        self._idle: list[Connection] = []  # readers' connections between two uses
        self._view: View | None = None
        self._closed = False
        self._writer: Connection | None = None
        try:
            connection = catalogue.connect(path)
            try:
                facts = catalogue.facts(connection, path)
            finally:
                self._give_back(connection)
            self.grains, self.digest, self.created = facts.grains, facts.digest, facts.created
            if mode == "w":
                self._writer = catalogue.connect(path, write=True)
                self._tidy(self._writer)
        except BaseException:
            self.close()
            raise

    @classmethod
    def create(cls, path: str | os.PathLike[str], *, grains: Grains, digest: str) -> Store:
        """A new library in a new or empty folder, opened for writing.

        It becomes one when its catalogue gets its name, in one step; killed before, there is none, and
        creating it again takes the place.
        """
        folder = Path(os.path.abspath(path))
        with told(folder):
            if folder.exists() and not folder.is_dir():
                raise LibraryError(f"{folder} is a file; a library is a folder. Give another name")
            folder.mkdir(parents=True, exist_ok=True)
            _refuse_content(folder)
            lock = WriterLock(folder)
            try:
                _refuse_content(folder)  # nobody else can make it from here on
                catalogue.make(folder, grains, digest)
                (folder / segments.FOLDER).mkdir(exist_ok=True)
                (folder / catalogue.MAKING).rename(folder / catalogue.NAME)
                disk.sync_folder(folder)
                disk.sync_folder(folder.parent)
                return cls(folder, "w", lock)
            except BaseException:
                lock.release()
                raise

    @classmethod
    def open(cls, path: str | os.PathLike[str], mode: Literal["r", "w"] = "r") -> Store:
        """An existing library. Only one program at a time may have it open for writing."""
        folder = Path(os.path.abspath(path))
        if mode not in ("r", "w"):
            raise LibraryError(f"a library is opened with mode 'r' or 'w', not {mode!r}")
        with told(folder):
            if not (folder / catalogue.NAME).is_file():
                raise LibraryError(catalogue.missing(folder))
            return cls(folder, mode, WriterLock(folder) if mode == "w" else None)

    def close(self) -> None:
        """Let go of files and lock. Arrays of snapshots stay good."""
        with self._looking, self._writing:
            self._closed = True
            for connection in self._idle:
                connection.close()
            self._idle.clear()
            self._view = None
            if self._writer is not None:  # last, so that it can fold the log into the catalogue
                with suppress(sqlite3.Error):
                    self._writer.close()
                self._writer = None
            if self._lock is not None:
                self._lock.release()
                self._lock = None

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ---- questions

    def known(self, path: str) -> Item | None:
        """The item of this path."""
        encoded = encode_path(path)
        found = self._items("path", encoded)
        return found[0] if found else None

    def by_content(self, content: str) -> list[Item]:
        """All items with this SHA-256, by id."""
        try:
            value = bytes.fromhex(content)
        except ValueError:
            return []
        return self._items("content", value)

    def _items(self, column: Literal["path", "content"], value: bytes) -> list[Item]:
        rows = self._ask(f"SELECT {COLUMNS}, seal FROM items WHERE {column} = ? ORDER BY id", (value,))
        if any(row[1 if column == "path" else 3] != value for row in rows):
            raise LibraryError(f"{self.path}: an index of the catalogue is damaged; {FROM_BACKUP}")
        return [item_of(row, self.path) for row in rows]

    @contextmanager
    def snapshot(self) -> Iterator[Snapshot]:
        """The library at one moment, whatever a writer does meanwhile."""
        connection, view = self._look()
        snapshot = Snapshot(connection, self.path, self.grains.n_words, view)
        try:
            yield snapshot
        finally:
            snapshot.end()
            self._give_back(connection)

    def verify(self) -> list[Problem]:
        """Every check there is; an empty list, or one of harmless problems only, is a sound library."""
        try:
            connection = self._borrow()
        except (LibraryError, sqlite3.Error, OSError) as error:
            if self._closed:
                raise
            return [Problem(str(self.path / catalogue.NAME), f"cannot be read: {error}", FROM_BACKUP)]
        try:
            return verify.problems(connection, self.path, self.grains.n_words)
        finally:
            self._give_back(connection)

    def info(self) -> dict[str, Any]:
        """What there is, counted."""
        with told(self.path):
            connection = self._borrow()
            try:
                counters = catalogue.counters(connection, self.path)
                (items,) = connection.execute("SELECT count(*) FROM items").fetchone()
                (count,) = connection.execute("SELECT count(DISTINCT segment) FROM blocks").fetchone()
            finally:
                self._give_back(connection)
            files = [*self.path.glob(catalogue.NAME + "*"), *(self.path / segments.FOLDER).glob("*")]
            return {
                "items": items,
                "rows": counters.rows,
                "dead rows": counters.dead,
                "segments": count,
                "bytes on disk": sum(file.stat().st_size for file in files),
                "format": catalogue.FORMAT,
                "digest": self.digest,
                "grains": dict(self.grains),
                "created": self.created,
            }

    # ---- changes

    def commit(self, batch: Sequence[New | Replaced | Moved | Touched]) -> list[int]:
        """Make the changes durable, all or none; the ids of their items, in order."""
        if not batch:
            return []
        with self._transaction() as connection:
            before = catalogue.counters(connection, self.path)
            place, last = self._end(connection, before)
            try:
                outcome = changes.apply(connection, self.path, self.grains.n_words, batch, before)
                after = replace(before, rows=before.rows + len(outcome.row_ids), dead=outcome.dead)
                if outcome.row_ids:
                    grown = segments.append(self.path, place, last, outcome.row_ids, b"".join(outcome.codes))
                    catalogue.put_blocks(connection, grown)
                    after = replace(after, segment=place.number)
                catalogue.set_counters(connection, after)
            except BaseException:
                self._undo(connection)
                raise
            return outcome.ids

    def remove(self, ids: Iterable[int]) -> int:
        """Take items out; how many of them were there."""
        with self._transaction() as connection:
            before = catalogue.counters(connection, self.path)
            possible = [int(each) for each in ids if 0 < int(each) < 2**63]
            gone, dead = changes.remove(connection, possible, before)
            catalogue.set_counters(connection, replace(before, dead=dead))
        return gone

    def rebuild(self) -> None:
        """Write the segments anew from the catalogue, by id, without dead rows; switch to them at once."""
        with self._transaction() as connection:
            before = catalogue.counters(connection, self.path)
            try:
                after = self._rewrite(connection, before)
                catalogue.set_counters(connection, after)
            except BaseException:
                self._undo(connection)
                raise
        with self._writing, told(self.path):
            self._tidy(self._need_writer())

    def _rewrite(self, connection: sqlite3.Connection, before: Counters) -> Counters:
        changes.renumber(connection)
        connection.execute("DELETE FROM dead")
        connection.execute("DELETE FROM blocks")
        place = Place(before.segment + 1, 0, 0, self.grains.n_words)
        # Closed even when writing fails: an open cursor would lock the tables against the next attempt.
        with closing(connection.execute("SELECT item, code, seal FROM rows ORDER BY row")) as cursor:
            while rows := cursor.fetchmany(min(REBUILD_ROWS, self.segment_rows)):
                if place.rows >= self.segment_rows:
                    place = Place(place.number + 1, place.first_row + place.rows, 0, place.n_words)
                codes = b"".join(catalogue.sound_code(self.path, *row) for row in rows)
                grown = segments.append(self.path, place, None, [row[0] for row in rows], codes)
                catalogue.put_blocks(connection, grown)
                place = replace(place, rows=place.rows + len(rows))
        return Counters(before.era + 1, place.first_row + place.rows, 0, place.number)

    def _end(self, connection: sqlite3.Connection, counters: Counters) -> tuple[Place, Block | None]:
        """The segment to append to and its last block: the last one, or a new one where that is full."""
        blocks = catalogue.blocks(connection, self.path, self.grains.n_words, counters.segment)
        for place, members in segments.places(blocks, self.grains.n_words):
            if place.first_row + place.rows != counters.rows:
                raise MendableError(self.path, self.path / catalogue.NAME, "the list of blocks is damaged")
            if place.rows < self.segment_rows:
                return place, members[-1]
        return Place(counters.segment + 1, counters.rows, 0, self.grains.n_words), None

    def _places(self, connection: sqlite3.Connection) -> list[Place]:
        blocks = catalogue.blocks(connection, self.path, self.grains.n_words)
        return [place for place, _ in segments.places(blocks, self.grains.n_words)]

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        """All or nothing. Whatever is raised inside, or by the commit itself, leaves the catalogue as it was."""
        with self._writing, told(self.path):
            connection = self._need_writer()
            if connection.in_transaction:  # an interrupt between two statements
                connection.execute("ROLLBACK")
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                # A failed COMMIT leaves the segment tail: if the log did reach the disk, it will be wanted.
                _roll_back(connection)
                raise

    def _undo(self, connection: sqlite3.Connection) -> None:
        """Back to before the transaction, files included. What fails here is mended by the next writer."""
        _roll_back(connection)
        self._tidy(connection)

    def _tidy(self, connection: sqlite3.Connection) -> None:
        """Give back the space of what is not committed, unless the list of what is may be damaged."""
        with suppress(sqlite3.Error, LibraryError, OSError):
            committed = self._places(connection)
            if sum(place.rows for place in committed) == catalogue.counters(connection, self.path).rows:
                segments.tidy(self.path, committed)

    def _need_writer(self) -> Connection:
        if self._closed:
            raise LibraryError(f"{self.path} is closed; open it again")
        if self._writer is None:
            raise LibraryError(f"{self.path} is open for reading; open it with mode='w' to change it")
        return self._writer

    # ---- readers' connections

    def _ask(self, query: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
        with told(self.path):
            connection = self._borrow()
            try:
                return connection.execute(query, values).fetchall()
            finally:
                self._give_back(connection)

    def _borrow(self) -> Connection:
        with self._looking:
            if self._closed:
                raise LibraryError(f"{self.path} is closed; open it again")
            if self._idle:
                return self._idle.pop()
        connection = catalogue.connect(self.path)
        try:
            facts = catalogue.facts(connection, self.path)
            if (facts.digest, facts.created) != (self.digest, self.created):
                raise LibraryError(f"{self.path} was replaced by another library meanwhile; open it again")
        except BaseException:
            connection.close()
            raise
        return connection

    def _give_back(self, connection: Connection) -> None:
        _roll_back(connection)
        with self._looking:
            if self._closed or connection.frozen:
                connection.close()
            else:
                self._idle.append(connection)

    def _look(self) -> tuple[Connection, View]:
        """A connection within a read transaction, and the view of that moment."""
        with told(self.path):
            connection = self._borrow()
            try:
                for _ in range(TRIES):
                    era = 0
                    with self._looking:  # one at a time, so that views only ever grow newer
                        connection.execute("BEGIN")
                        try:
                            era = self._era(connection)
                            self._view = view_of(connection, self.path, self.grains.n_words, self._view)
                            return connection, self._view
                        except MendableError:
                            connection.execute("ROLLBACK")
                            if self._era(connection) == era:  # not deleted by a rebuild: real damage
                                raise
                raise LibraryError(f"{self.path} is being rebuilt again and again; try later")
            except BaseException:
                self._give_back(connection)
                raise

    def _era(self, connection: sqlite3.Connection) -> int:
        return catalogue.counters(connection, self.path).era


def _roll_back(connection: sqlite3.Connection) -> None:
    with suppress(sqlite3.Error):
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def _refuse_content(folder: Path) -> None:
    if (folder / catalogue.NAME).exists():
        raise LibraryError(f"{folder} is a library already; add to it: hashgrain add {folder} FOLDER")
    names = [entry.name for entry in folder.iterdir() if not entry.name.startswith(catalogue.MAKING)]
    if not NOT_CONTENT.issuperset(names):
        raise LibraryError(f"{folder} is a folder with other things in it; give a new name for the library")
