"""`Store`: a library on disk. One writer and many readers; what it says is done stays done."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from hashgrain import inside
from hashgrain.codes import Grains
from hashgrain.errors import LibraryDamagedError, LibraryError, LibraryExistsError, OtherModelError, Remedy, reason_of
from hashgrain.store import catalogue, change_log, changes, disk, remembered, segments, sums, verify
from hashgrain.store.catalogue import Block, Connection, Counters
from hashgrain.store.changes import Edit
from hashgrain.store.items import COLUMNS, Item, Problem, encode_path, item_of
from hashgrain.store.lock import NAME as LOCK
from hashgrain.store.lock import WriterLock
from hashgrain.store.mend import Mended, drop_damaged_log, restore
from hashgrain.store.readers import LostCommitsError, Readers
from hashgrain.store.redo import NAME as REDO
from hashgrain.store.redo import Step
from hashgrain.store.remembered import Refusal
from hashgrain.store.segments import SEGMENT_ROWS, Place
from hashgrain.store.snapshot import Snapshot, View, view_of
from hashgrain.store.sums import PageCheck
from hashgrain.store.trouble import FROM_BACKUP, MendableError, told
from hashgrain.store.writer import Transaction, Writer

# What may stand in a folder that becomes a library: what systems leave everywhere, and what a killed `create` made.
NOT_CONTENT = {".DS_Store", "Thumbs.db", "desktop.ini", "lost+found", LOCK, segments.FOLDER, REDO, sums.NAME, "model"}
REBUILD_ROWS = 65_536  # rows in memory, and in a block, while segments are written anew
TRIES = 10  # a reader that meets a rebuild looks again; ten rebuilds in a row it has not seen yet


class Store:
    """A library opened for reading ("r") or writing ("w"). May be used from several threads.

    The catalogue is the truth. A commit appends to the segment files, flushes them, and then commits the
    SQLite transaction that says how much of them counts: a crash leaves at most bytes that do not count.
    """

    def __init__(self, path: Path, mode: Literal["r", "w"], lock: WriterLock | None, *, mend: bool = False) -> None:
        """Use `Store.open` or `Store.create`."""
        self.path = path
        self.mode = mode
        self.segment_rows = SEGMENT_ROWS
        self._lock = lock
        self._writing = threading.RLock()
        self._looking = threading.Lock()
        self._view: View | None = None
        self._writer: Writer | None = None
        self._readers = Readers(path)
        self._pages = PageCheck(path)
        self.folded = False  # of a writer: whether all that is committed is in the catalogue itself, and not in logs
        try:
            if mend:
                drop_damaged_log(path)  # before anything of it is open
            if mode == "w":  # before any reader, since it brings an older format up to date
                self._writer = Writer(path, mend=mend)
            self._facts = self._readers.open(mend=mend)
            if self._writer and not self._writer.lost:
                self.folded = self._writer.fold()
                self._tidy()
        except BaseException:
            self.close()
            raise

    @classmethod
    def create(
        cls,
        path: str | os.PathLike[str],
        *,
        grains: Grains,
        digest: str,
        prepare: Callable[[Path], object] = lambda folder: None,
    ) -> Store:
        """A new library in a new or empty folder, opened for writing.

        It becomes one when its catalogue gets its name, in one step; killed before, there is none, and
        creating it again takes the place. `prepare` puts what belongs in the folder there before that.
        """
        folder = Path(os.path.abspath(path))
        with told(folder):
            if folder.exists() and not folder.is_dir():
                message = f"{folder} is a file; a library is a folder"
                raise LibraryExistsError(message, path=folder, remedy="give another name")
            folder.mkdir(parents=True, exist_ok=True)
            _refuse_content(folder)
            lock = WriterLock(folder)
            try:
                _refuse_content(folder)  # nobody else can make it from here on
                prepare(folder)
                catalogue.make(folder, grains, digest)
                inside.make_folder(folder, segments.FOLDER)
                inside.rename(folder, (), catalogue.MAKING, catalogue.NAME)
                disk.sync_folder(folder)
                disk.sync_folder(folder.parent)
                return cls(folder, "w", lock)
            except BaseException:
                lock.release()
                raise

    @classmethod
    def open(cls, path: str | os.PathLike[str], mode: Literal["r", "w"] = "r", *, mend: bool = False) -> Store:
        """An existing library. Only one program at a time may have it open for writing.

        With `mend` a catalogue that lost changes is opened too, for `rebuild` and nothing else.
        """
        folder = Path(os.path.abspath(path))
        if mode not in ("r", "w"):
            raise LibraryError(f"a library is opened with mode 'r' or 'w', not {mode!r}")
        with told(folder):
            if not os.path.lexists(folder / catalogue.NAME):
                raise catalogue.missing(folder)
            return cls(folder, mode, WriterLock(folder) if mode == "w" else None, mend=mend)

    @property
    def grains(self) -> Grains:
        return self._facts.grains

    @property
    def digest(self) -> str:
        return self._facts.digest

    @property
    def created(self) -> str:
        return self._facts.created

    def close(self) -> None:
        """Let go of files and lock. Arrays of snapshots stay good."""
        with self._looking, self._writing:
            self._readers.close()
            self._view = None
            writer, self._writer = self._writer, None
            lock, self._lock = self._lock, None
            try:
                if writer is not None:  # last, so that it can fold its log into the catalogue
                    writer.close()
            finally:
                if lock is not None:
                    lock.release()

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

    def refusals(self) -> list[Refusal]:
        return remembered.refusals(self._ask("SELECT * FROM refusals ORDER BY path", ()), self.path)

    def excluded(self, path: str) -> bool:
        """Whether the file was taken out by hand, and is to stay out."""
        return bool(self._ask("SELECT 1 FROM exclusions WHERE path = ?", (encode_path(path),)))

    def exclusions(self) -> list[str]:
        return remembered.exclusions(self._ask("SELECT path FROM exclusions ORDER BY path", ()), self.path)

    def _items(self, column: Literal["path", "content"], value: bytes) -> list[Item]:
        self._pages.check()
        rows = self._ask(f"SELECT {COLUMNS}, seal FROM items WHERE {column} = ? ORDER BY id", (value,))
        if any(row[1 if column == "path" else 3] != value for row in rows):
            raise LibraryDamagedError(
                f"{self.path}: an index of the catalogue is damaged", remedy=FROM_BACKUP, path=self.path
            )
        return [item_of(row, self.path) for row in rows]

    @contextmanager
    def snapshot(self) -> Iterator[Snapshot]:
        """The library at one moment, whatever a writer does meanwhile."""
        connection, view = self._look()
        snapshot = Snapshot(connection, self.path, self.grains.n_words, view, self._pages.check)
        try:
            yield snapshot
        finally:
            snapshot.end()
            self._readers.give_back(connection)

    def verify(self) -> list[Problem]:
        """Every check there is; an empty list, or one of harmless problems only, is a sound library."""
        try:
            connection = self._readers.borrow()
        except (LibraryError, sqlite3.Error, OSError) as error:
            if self._readers.closed:
                raise
            return [Problem(str(self.path / catalogue.NAME), f"cannot be read: {reason_of(error)}", FROM_BACKUP)]
        try:
            return verify.problems(connection, self.path, self.grains.n_words)
        finally:
            self._readers.give_back(connection)

    def info(self) -> dict[str, Any]:
        """What there is, counted."""
        with told(self.path), self._readers.borrowed() as connection:
            counters = catalogue.counters(connection, self.path)
            self._pages.check()
            (items,) = connection.execute("SELECT count(*) FROM items").fetchone()
            (count,) = connection.execute("SELECT count(DISTINCT segment) FROM blocks").fetchone()
            if items != counters.rows - counters.dead:
                raise LibraryDamagedError(
                    f"{self.path}: the catalogue is damaged ({items} items)", remedy=FROM_BACKUP, path=self.path
                )
            names = [name for name in inside.names(self.path) if name.startswith(catalogue.NAME)]
            size = sum(inside.size(self.path, name) for name in names)
            parts = inside.names(self.path, segments.FOLDER)
            return {
                "items": items,
                "rows": counters.rows,
                "dead_rows": counters.dead,
                "segments": count,
                "bytes_on_disk": size + sum(inside.size(self.path, segments.FOLDER, name) for name in parts),
                "format": connection.version,
                "digest": self.digest,
                "grains": dict(self.grains),
                "created": self.created,
            }

    # ---- changes

    def commit(self, batch: Sequence[Edit]) -> list[int]:
        """Make the changes durable, all or none; the ids of their items, in order."""
        if not batch:
            return []
        with self._changing() as change:
            connection, before = change.connection, change.before
            place, last = self._end(connection, before)
            outcome = changes.apply(connection, self.path, self.grains.n_words, batch, before)
            sequence = change_log.record(connection, before.sequence, outcome.logged)
            rows = before.rows + len(outcome.row_ids)
            change.after = replace(before, rows=rows, dead=outcome.dead, sequence=sequence)
            if outcome.row_ids:
                grown = segments.append(self.path, place, last, outcome.row_ids, b"".join(outcome.codes))
                catalogue.put_blocks(connection, grown)
                change.after = replace(change.after, segment=place.number)
            change.steps = outcome.steps()
        return outcome.ids

    def remove(self, ids: Iterable[int]) -> int:
        """Take items out; how many of them were there."""
        with self._changing() as change:
            possible = [int(each) for each in ids if 0 < int(each) < 2**63]
            gone, dead = changes.remove(change.connection, possible, change.before)
            sequence = change_log.record_removed(change.connection, change.before.sequence, gone)
            change.after = replace(change.before, dead=dead, sequence=sequence)
            change.steps = [
                ("drop code", [(each,) for each in possible]),
                ("drop item", [(each,) for each in possible]),
            ]
        return len(gone)

    def refuse(self, entries: Iterable[Refusal]) -> None:
        """Remember files that could not be read, by size and time."""
        self._remember(remembered.refuse(entries))

    def forget_refusals(self, paths: Iterable[str]) -> None:
        self._remember(remembered.forget_refusals(paths))

    def exclude(self, paths: Iterable[str]) -> None:
        """Keep files out that were taken out by hand, until they are included again."""
        self._remember(remembered.exclude(paths))

    def include(self, paths: Iterable[str]) -> None:
        self._remember(remembered.include(paths))

    def _remember(self, steps: list[Step]) -> None:
        if any(rows for _, rows in steps):
            with self._changing() as change:
                remembered.apply(change.connection, steps)
                change.steps = steps

    def rebuild(self) -> Mended:
        """Write the segments anew from the catalogue, by id, without dead rows; switch to them at once.

        What the catalogue lost is made again first, where the redo log and the segments have it.
        """
        with self._changing(mending=True) as change:
            mended = restore(change, self.path, self._facts, self.grains.n_words)
            last = change.before.sequence
            last = change_log.tidy(change.connection, last, lost=bool(mended.changes or mended.lost))
            change.before = replace(change.before, sequence=last)
            change.after = self._rewrite(change.connection, change.before, self.grains.n_words)
        self._after_rewrite()
        return mended

    def change_model(self, codes: Iterable[tuple[int, bytes]], *, grains: Grains, digest: str) -> None:
        """Give every item the code of another model, and the library its grains and digest, in one step."""
        with self._changing() as change:
            changes.recode(change.connection, codes)
            catalogue.set_facts(change.connection, self._facts, grains, digest)
            change.before = replace(change.before, sequence=change_log.begin_anew(change.connection))
            change.after = self._rewrite(change.connection, change.before, grains.n_words)
        with self._looking, told(self.path):
            self._view = None
            self._facts = self._readers.open()
        self._after_rewrite()

    def _after_rewrite(self) -> None:
        """Nothing of it is in the redo log: fold it in, with all sums anew, and give old files back."""
        with self._writing, told(self.path):
            writer = self._need_writer()
            writer.lost, writer.renew_sums = 0, True
            self.folded = writer.fold()
            self._tidy()

    def _rewrite(self, connection: Connection, before: Counters, n_words: int) -> Counters:
        changes.renumber(connection)
        connection.execute("DELETE FROM dead")
        connection.execute("DELETE FROM blocks")
        place = Place(before.segment + 1, 0, 0, n_words)
        # Closed even when writing fails: an open cursor would lock the tables against the next attempt.
        with closing(connection.execute("SELECT item, code, seal FROM rows ORDER BY row")) as cursor:
            while rows := cursor.fetchmany(min(REBUILD_ROWS, self.segment_rows)):
                if place.rows >= self.segment_rows:
                    place = Place(place.number + 1, place.first_row + place.rows, 0, place.n_words)
                codes = b"".join(catalogue.sound_code(self.path, n_words, *row) for row in rows)
                grown = segments.append(self.path, place, None, [row[0] for row in rows], codes)
                catalogue.put_blocks(connection, grown)
                place = replace(place, rows=place.rows + len(rows))
        end = place.first_row + place.rows
        return replace(before, era=before.era + 1, rows=end, dead=0, segment=place.number)

    def _end(self, connection: Connection, counters: Counters) -> tuple[Place, Block | None]:
        """The segment to append to and its last block: the last one, or a new one where that is full."""
        blocks = catalogue.blocks(connection, self.path, self.grains.n_words, counters.segment)
        for place, members in segments.places(blocks, self.grains.n_words):
            if place.first_row + place.rows != counters.rows:
                raise MendableError(self.path, self.path / catalogue.NAME, "the list of blocks is damaged")
            if place.rows < self.segment_rows:
                return place, members[-1]
        return Place(counters.segment + 1, counters.rows, 0, self.grains.n_words), None

    @contextmanager
    def _changing(self, *, mending: bool = False) -> Iterator[Transaction]:
        """A transaction; what is raised inside leaves the library as it was, files included."""
        with self._writing, told(self.path):
            writer = self._need_writer()
            if writer.lost and not mending:
                raise LostCommitsError(self.path, writer.lost)
            with writer.transaction(self._tidy) as change:
                yield change

    def _tidy(self) -> None:
        """Give back the space of what is not committed, unless the list of what is may be damaged."""
        with suppress(sqlite3.Error, LibraryError, OSError):
            connection = self._need_writer().connection
            blocks = catalogue.blocks(connection, self.path, self.grains.n_words)
            committed = [place for place, _ in segments.places(blocks, self.grains.n_words)]
            if sum(place.rows for place in committed) == catalogue.counters(connection, self.path).rows:
                segments.tidy(self.path, committed)

    def _need_writer(self) -> Writer:
        if self._readers.closed:
            raise LibraryError(f"{self.path} is closed; open it again", path=self.path)
        if self._writer is None:
            raise LibraryError(f"{self.path} is open for reading; open it with mode='w' to change it", path=self.path)
        return self._writer

    # ---- readers' connections

    def _ask(self, query: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
        with told(self.path), self._readers.borrowed() as connection:
            return connection.all(query, values)

    def _look(self) -> tuple[Connection, View]:
        """A connection within a read transaction, and the view of that moment."""
        with told(self.path):
            connection = self._readers.borrow()
            try:
                for _ in range(TRIES):
                    era = 0
                    with self._looking:  # one at a time, so that views only ever grow newer
                        connection.execute("BEGIN")
                        try:
                            era = self._era(connection)
                            if self._view is None or era != self._view.counters.era:
                                self._check_model(connection)
                            self._view = view_of(connection, self.path, self.grains.n_words, self._view)
                            return connection, self._view
                        except MendableError:
                            connection.execute("ROLLBACK")
                            if self._era(connection) == era:  # not deleted by a rebuild: real damage
                                raise
                raise LibraryError(f"{self.path} is being rebuilt again and again; try later", path=self.path)
            except BaseException:
                self._readers.give_back(connection)
                raise

    def _check_model(self, connection: Connection) -> None:
        """Raise where the codes are of another model by now: who opened the library asks with that of before."""
        facts = catalogue.facts(connection, self.path)
        if facts.digest != self.digest:
            message = f"{self.path} was given another model meanwhile"
            raise OtherModelError(message, path=self.path, remedy="open it again")

    def _era(self, connection: sqlite3.Connection) -> int:
        return catalogue.counters(connection, self.path).era


def _refuse_content(folder: Path) -> None:
    if (folder / catalogue.NAME).exists():
        remedy = Remedy("open it to add to it", "add_to", library=folder)
        raise LibraryExistsError(f"{folder} is a library already", path=folder, remedy=remedy)
    names = [name for name in inside.names(folder) if not name.startswith(catalogue.MAKING)]
    if not NOT_CONTENT.issuperset(names):
        message = f"{folder} is a folder with other things in it"
        raise LibraryExistsError(message, path=folder, remedy="give a new name for the library")
