"""`Store`: a library on disk. One writer and many readers; what it says is done stays done.

What only changes, mends or checks a library is imported where it is used, so that a search does not wait for it.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from hashgrain import inside
from hashgrain.codes import Grains
from hashgrain.errors import LibraryError, LibraryExistsError, Remedy, reason_of
from hashgrain.store import catalogue, change_log, disk, page_checksums, segments, skipped_files
from hashgrain.store.blocks import read_blocks
from hashgrain.store.catalogue import Facts
from hashgrain.store.counters import read_counters
from hashgrain.store.errors import FROM_BACKUP, index_damaged, told
from hashgrain.store.items import COLUMNS, Item, Problem, encode_path, item_of
from hashgrain.store.lock import NAME as LOCK
from hashgrain.store.lock import WriterLock
from hashgrain.store.page_checksums import PageCheck
from hashgrain.store.parts import Grid, grid_of, grid_text
from hashgrain.store.readers import LostCommitsError, Readers
from hashgrain.store.redo import NAME as REDO
from hashgrain.store.segments import SEGMENT_ROWS
from hashgrain.store.skipped_files import Refusal
from hashgrain.store.snapshot import Snapshot
from hashgrain.store.spaces import SPACES, WHOLE
from hashgrain.store.view_cache import Moments

if TYPE_CHECKING:
    from hashgrain.store.changes import Edit
    from hashgrain.store.counters import Counters
    from hashgrain.store.mend import Mended
    from hashgrain.store.parts import Parts
    from hashgrain.store.redo import Step
    from hashgrain.store.writer import Transaction, Writer

# What may stand in a folder that becomes a library: what systems leave everywhere, and what a killed `create` made.
NOT_CONTENT = {
    ".DS_Store",
    "Thumbs.db",
    "desktop.ini",
    "lost+found",
    LOCK,
    segments.FOLDER,
    REDO,
    page_checksums.NAME,
    "model",
}


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
        self._writer: Writer | None = None
        self._readers = Readers(path)
        self._moments = Moments(path, self._readers)
        self._pages = PageCheck(path)
        self.folded = False  # of a writer: whether all that is committed is in the catalogue itself, and not in logs
        try:
            if mend:
                from hashgrain.store.mend import drop_damaged_log

                drop_damaged_log(path)  # before anything of it is open
            if mode == "w":  # before any reader, since it brings an older format up to date
                from hashgrain.store.writer import Writer

                self._writer = Writer(path, mend=mend)
            self._readers.open(mend=mend)
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
        grid: Sequence[Sequence[float]] | None = None,
        prepare: Callable[[Path], object] = lambda folder: None,
    ) -> Store:
        """A new library in a new or empty folder, opened for writing.

        It becomes one when its catalogue gets its name, in one step; killed before, there is none, and
        creating it again takes the place. `prepare` puts what belongs in the folder there before that.
        """
        folder = Path(os.path.abspath(path))
        text = None if grid is None else grid_text(grid)
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
                catalogue.make(folder, grains, digest, text)
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
    def _facts(self) -> Facts:
        return self._readers.facts

    @property
    def grains(self) -> Grains:
        return self._facts.grains

    @property
    def digest(self) -> str:
        return self._facts.digest

    @property
    def grid(self) -> Grid | None:
        """Boxes or spans of the parts 1, 2, ... of every item that has no positions of its own."""
        return self._facts.grid

    @property
    def created(self) -> str:
        return self._facts.created

    def close(self) -> None:
        """Let go of files and lock. Arrays of snapshots stay good."""
        with self._writing:
            self._readers.close()
            self._moments.forget()
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
        return skipped_files.refusals(self._ask("SELECT * FROM refusals ORDER BY path", ()), self.path)

    def excluded(self, path: str) -> bool:
        """Whether the file was taken out by hand, and is to stay out."""
        return bool(self._ask("SELECT 1 FROM exclusions WHERE path = ?", (encode_path(path),)))

    def exclusions(self) -> list[str]:
        return skipped_files.exclusions(self._ask("SELECT path FROM exclusions ORDER BY path", ()), self.path)

    def _items(self, column: Literal["path", "content"], value: bytes) -> list[Item]:
        self._pages.check()
        rows = self._ask(f"SELECT {COLUMNS}, seal FROM items WHERE {column} = ? ORDER BY id", (value,))
        if any(row[1 if column == "path" else 3] != value for row in rows):
            raise index_damaged(self.path)
        return [item_of(row, self.path) for row in rows]

    @contextmanager
    def snapshot(self, *, parts: bool = False) -> Iterator[Snapshot]:
        """The library at one moment, whatever a writer does meanwhile. Who is going to ask for the codes of `parts`
        says so: else a rebuild may take their files away before they are mapped."""
        moment = self._moments.look(parts=parts)
        snapshot = Snapshot(self.path, self._facts, moment, self._moments.parts_at, self._pages.check)
        try:
            yield snapshot
        finally:
            snapshot.end()
            self._readers.give_back(moment.connection)

    def verify(self) -> list[Problem]:
        """Every check there is; an empty list, or one of harmless problems only, is a sound library."""
        from hashgrain.store import verify

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
        from hashgrain.store.info import info

        with told(self.path), self._readers.borrowed() as connection:
            self._pages.check()
            return info(connection, self.path, self._facts)

    # ---- changes

    def commit(self, batch: Sequence[Edit]) -> list[int]:
        """Make the changes durable, all or none; the ids of their items, in order."""
        if not batch:
            return []
        from hashgrain.store import segment_writer
        from hashgrain.store.changes import Batch

        with self._changing() as change:
            connection, before, n_words = change.connection, change.before, self.grains.n_words
            outcome = Batch(connection, self.path, n_words, self._facts.grid, before).apply(batch)
            change.after = replace(before, sequence=change_log.record(connection, before.sequence, outcome.logged))
            for space, tail in outcome.tails.items():
                extent = before.of(space)
                if space is WHOLE or tail.ids:
                    grown = segment_writer.append(
                        connection, self.path, n_words, space, extent, tail, self.segment_rows
                    )
                    change.after = change.after.grown(space, grown)
                else:
                    change.after = change.after.grown(space, tail.extent)
            change.steps = outcome.steps()
        return outcome.ids

    def remove(self, ids: Iterable[int]) -> int:
        """Take items out; how many of them were there."""
        from hashgrain.store import changes

        with self._changing() as change:
            possible = [int(each) for each in ids if 0 < int(each) < 2**63]
            gone, after = changes.remove(change.connection, self.path, self.grains.n_words, possible, change.before)
            sequence = change_log.record_removed(change.connection, change.before.sequence, gone)
            change.after = replace(after, sequence=sequence)
            written = ("code", "parts", "item") if change.before.parts.rows else ("code", "item")
            change.steps = [(f"drop {what}", [(each,) for each in possible]) for what in written]
        return len(gone)

    def set_grid(self, grid: Sequence[Sequence[float]] | None) -> None:
        """Where the parts 1, 2, ... of every item lie that has no positions of its own: boxes, or spans."""
        text = None if grid is None else grid_text(grid)
        with self._changing() as change:
            change.steps = catalogue.set_grid(change.connection, self.path, self._facts, text)
        with told(self.path):
            self._readers.open()

    def refuse(self, entries: Iterable[Refusal]) -> None:
        """Remember files that could not be read, by size and time."""
        self._remember(skipped_files.refuse(entries))

    def forget_refusals(self, paths: Iterable[str]) -> None:
        self._remember(skipped_files.forget_refusals(paths))

    def exclude(self, paths: Iterable[str]) -> None:
        """Keep files out that were taken out by hand, until they are included again."""
        self._remember(skipped_files.exclude(paths))

    def include(self, paths: Iterable[str]) -> None:
        self._remember(skipped_files.include(paths))

    def _remember(self, steps: list[Step]) -> None:
        if any(rows for _, rows in steps):
            with self._changing() as change:
                skipped_files.apply(change.connection, steps)
                change.steps = steps

    def rebuild(self) -> Mended:
        """Write the segments anew from the catalogue, by id, without dead rows; switch to them at once.

        What the catalogue lost is made again first, where the redo log and the segments have it.
        """
        from hashgrain.store.mend import restore

        with self._changing(mending=True) as change:
            mended = restore(change, self.path, self._facts)
            last = change.before.sequence
            last = change_log.tidy(
                change.connection, last, lost=bool(mended.changes or mended.lost or mended.lost_parts)
            )
            change.before = replace(change.before, sequence=last)
            change.after = self._rewrite(change, self.grains.n_words)
        self._after_rewrite()
        return mended

    def change_model(
        self,
        codes: Iterable[tuple[int, bytes]],
        *,
        grains: Grains,
        digest: str,
        parts: Iterable[tuple[int, Parts]] = (),
        grid: Sequence[Sequence[float]] | None = None,
    ) -> None:
        """Give every item the code of another model, and the library its grains, digest and grid, in one step. Parts
        are those that are given here."""
        from hashgrain.store import changes

        text = None if grid is None else grid_text(grid)
        with self._changing() as change:
            changes.recode(change.connection, codes, parts, grains.n_words, None if text is None else grid_of(text))
            catalogue.set_facts(change.connection, self._facts, grains, digest, text)
            change.before = replace(change.before, sequence=change_log.begin_anew(change.connection))
            change.after = self._rewrite(change, grains.n_words)
        with told(self.path):
            self._readers.open()
            self._moments.forget()
        self._after_rewrite()

    def _rewrite(self, change: Transaction, n_words: int) -> Counters:
        from hashgrain.store import segment_writer

        return segment_writer.rewrite(change.connection, self.path, n_words, change.before, self.segment_rows)

    def _after_rewrite(self) -> None:
        """Nothing of it is in the redo log: fold it in, with all sums anew, and give old files back."""
        with self._writing, told(self.path):
            writer = self._need_writer()
            writer.lost, writer.renew_sums = 0, True
            self.folded = writer.fold()
            self._tidy()

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
            counters, committed = read_counters(connection, self.path), []
            for space in SPACES:
                extent, n_words = counters.of(space), self.grains.n_words
                blocks = read_blocks(connection, self.path, space, n_words) if space is WHOLE or extent.segment else []
                found = [place for place, _ in segments.places(blocks, space, n_words)]
                if sum(place.rows for place in found) != extent.rows:
                    return
                committed += found
            segments.tidy(self.path, committed)

    def _need_writer(self) -> Writer:
        if self._readers.closed:
            raise LibraryError(f"{self.path} is closed; open it again", path=self.path)
        if self._writer is None:
            raise LibraryError(f"{self.path} is open for reading; open it with mode='w' to change it", path=self.path)
        return self._writer

    def _ask(self, query: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
        with told(self.path), self._readers.borrowed() as connection:
            return connection.all(query, values)


def _refuse_content(folder: Path) -> None:
    if (folder / catalogue.NAME).exists():
        remedy = Remedy("open it to add to it", "add_to", library=folder)
        raise LibraryExistsError(f"{folder} is a library already", path=folder, remedy=remedy)
    names = [name for name in inside.names(folder) if not name.startswith(catalogue.MAKING)]
    if not NOT_CONTENT.issuperset(names):
        message = f"{folder} is a folder with other things in it"
        raise LibraryExistsError(message, path=folder, remedy="give a new name for the library")
