"""`Store`: a library on disk, with one writer and many readers. What it reports as done is durable.

Modules that change, mend or check a library are imported on first use, so that a search does not wait for them.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from hashgrain.codes import Grains
from hashgrain.errors import LibraryError, reason_of
from hashgrain.store import catalogue, change_log, segments, skipped_files
from hashgrain.store.blocks import read_blocks
from hashgrain.store.catalogue import LibraryFacts
from hashgrain.store.counters import read_counters
from hashgrain.store.errors import FROM_BACKUP, index_damaged, translate_errors
from hashgrain.store.items import COLUMNS, Item, Problem, encode_path, item_of
from hashgrain.store.lock import WriterLock
from hashgrain.store.page_checksums import PageCheck
from hashgrain.store.parts import Grid, grid_of, grid_text
from hashgrain.store.readers import LostCommitsError, Readers
from hashgrain.store.segments import SEGMENT_ROWS
from hashgrain.store.skipped_files import Refusal
from hashgrain.store.snapshot import Snapshot
from hashgrain.store.spaces import SPACES, WHOLE
from hashgrain.store.view_cache import ViewCache

if TYPE_CHECKING:
    from hashgrain.store.changes import Edit
    from hashgrain.store.counters import Counters
    from hashgrain.store.mend import MendReport
    from hashgrain.store.parts import Parts
    from hashgrain.store.redo import Step
    from hashgrain.store.writer import Transaction, Writer

COPIED_AT_ONCE = 4096  # pages of the catalogue, between which other threads run


class Store:
    """A library opened for reading ("r") or writing ("w"), for use from several threads.

    The catalogue is the source of truth. A commit appends to the segment files, flushes them, and then commits the
    SQLite transaction that says how much of them counts. A crash leaves at most bytes that do not count.
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
        self._views = ViewCache(path, self._readers)
        self._pages = PageCheck(path)
        self.folded = False  # of a writer: whether all commits are in the catalogue itself, and none in logs
        try:
            if mend:
                from hashgrain.store.mend import drop_damaged_log

                drop_damaged_log(path)  # before any connection
            if mode == "w":  # before any reader, since it upgrades an older format
                from hashgrain.store.writer import Writer

                self._writer = Writer(path, mend=mend)
            self._readers.open(mend=mend)
            if self._writer and not self._writer.lost:
                self.folded = self._writer.fold()
                self._remove_leftovers()
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
        """Create a library in a new or empty folder, and open it for writing.

        The folder becomes a library in one step, when its catalogue is renamed. If the process is killed before, there
        is none, and it can be created again. `prepare` adds other files of the library before that step.
        """
        from hashgrain.store.creation import create_library

        folder = Path(os.path.abspath(path))
        text = None if grid is None else grid_text(grid)
        with translate_errors(folder):
            lock = create_library(folder, grains, digest, text, prepare)
            try:
                return cls(folder, "w", lock)
            except BaseException:
                lock.release()
                raise

    @classmethod
    def open(cls, path: str | os.PathLike[str], mode: Literal["r", "w"] = "r", *, mend: bool = False) -> Store:
        """Open an existing library. Only one program at a time may have it open for writing.

        With `mend`, a catalogue that lost changes is opened too, only for `rebuild`.
        """
        folder = Path(os.path.abspath(path))
        if mode not in ("r", "w"):
            raise LibraryError(f"a library is opened with mode 'r' or 'w', not {mode!r}")
        with translate_errors(folder):
            if not os.path.lexists(folder / catalogue.NAME):
                raise catalogue.missing_error(folder)
            return cls(folder, mode, WriterLock(folder) if mode == "w" else None, mend=mend)

    @property
    def _facts(self) -> LibraryFacts:
        return self._readers.facts

    @property
    def grains(self) -> Grains:
        return self._facts.grains

    @property
    def digest(self) -> str:
        return self._facts.digest

    @property
    def grid(self) -> Grid | None:
        """Boxes or spans of the parts 1, 2, ... of items without positions of their own."""
        return self._facts.grid

    @property
    def created(self) -> str:
        return self._facts.created

    def close(self) -> None:
        """Close files and release the lock. Arrays of snapshots stay valid."""
        with self._writing:
            self._readers.close()
            self._views.forget()
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

    # ---- queries

    def known(self, path: str) -> Item | None:
        """The item of this path."""
        encoded = encode_path(path)
        items = self._items("path", encoded)
        return items[0] if items else None

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
        """Whether the file was removed by hand and must not be added again."""
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
        """The library at one moment, whatever a writer does meanwhile.

        Set `parts` if their codes will be used. Otherwise a rebuild may delete their files before they are mapped.
        """
        transaction = self._views.begin(parts=parts)
        snapshot = Snapshot(self.path, self._facts, transaction, self._views.parts_view, self._pages.check)
        try:
            yield snapshot
        finally:
            snapshot.end()
            self._readers.give_back(transaction.connection)

    def verify(self) -> list[Problem]:
        """Run all checks. A library is sound if the list is empty or has only harmless problems."""
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
        """Counts and facts of the library."""
        from hashgrain.store.info import info

        with translate_errors(self.path), self._readers.borrowed() as connection:
            self._pages.check()
            return info(connection, self.path, self._facts)

    def copy_catalogue(self, target: Path) -> tuple[int, int]:
        """Copy the catalogue, as it is at one moment, to a new file. Others may write meanwhile. Returns how many items
        it has, and the number of its last change."""
        with translate_errors(self.path), self._readers.borrowed() as connection:
            self._pages.check()
            connection.execute("BEGIN")
            (items,) = connection.execute("SELECT count(*) FROM items").fetchone()
            sequence = read_counters(connection, self.path).sequence
            with closing(sqlite3.connect(target)) as copy:
                connection.backup(copy, pages=COPIED_AT_ONCE)
        return int(items), sequence

    # ---- changes

    def commit(self, batch: Sequence[Edit]) -> list[int]:
        """Make all changes durable, or none; returns the ids of their items, in order."""
        if not batch:
            return []
        from hashgrain.store import segment_writer
        from hashgrain.store.changes import Batch

        with self._transaction() as change:
            connection, before, n_words = change.connection, change.before, self.grains.n_words
            outcome = Batch(connection, self.path, n_words, self._facts.grid, before).apply(batch)
            change.after = replace(before, sequence=change_log.record(connection, before.sequence, outcome.logged))
            for space, tail in outcome.tails.items():
                extent = before.extent_of(space)
                if space is WHOLE or tail.ids:
                    grown = segment_writer.append(
                        connection, self.path, n_words, space, extent, tail, self.segment_rows
                    )
                    change.after = change.after.with_extent(space, grown)
                else:
                    change.after = change.after.with_extent(space, tail.extent)
            change.steps = outcome.steps()
        return outcome.ids

    def remove(self, ids: Iterable[int]) -> int:
        """Remove items; returns how many of them existed."""
        from hashgrain.store import changes

        with self._transaction() as change:
            valid_ids = [int(each) for each in ids if 0 < int(each) < 2**63]
            removed, after = changes.remove(change.connection, self.path, self.grains.n_words, valid_ids, change.before)
            sequence = change_log.record_removed(change.connection, change.before.sequence, removed)
            change.after = replace(after, sequence=sequence)
            kinds = ("code", "parts", "item") if change.before.parts.rows else ("code", "item")
            change.steps = [(f"drop {what}", [(each,) for each in valid_ids]) for what in kinds]
        return len(removed)

    def set_grid(self, grid: Sequence[Sequence[float]] | None) -> None:
        """Set the boxes or spans of the parts 1, 2, ... of items without positions of their own."""
        text = None if grid is None else grid_text(grid)
        with self._transaction() as change:
            change.steps = catalogue.set_grid(change.connection, self.path, self._facts, text)
        with translate_errors(self.path):
            self._readers.open()

    def refuse(self, entries: Iterable[Refusal]) -> None:
        """Record files that could not be read, with size and time."""
        self._run_steps(skipped_files.refuse(entries))

    def forget_refusals(self, paths: Iterable[str]) -> None:
        self._run_steps(skipped_files.forget_refusals(paths))

    def exclude(self, paths: Iterable[str]) -> None:
        """Record files that were removed by hand, so that `add` skips them until they are included again."""
        self._run_steps(skipped_files.exclude(paths))

    def include(self, paths: Iterable[str]) -> None:
        self._run_steps(skipped_files.include(paths))

    def _run_steps(self, steps: list[Step]) -> None:
        if any(rows for _, rows in steps):
            with self._transaction() as change:
                skipped_files.apply(change.connection, steps)
                change.steps = steps

    def rebuild(self) -> MendReport:
        """Rewrite the segments from the catalogue, by id, without dead rows, and switch to them in one step.

        Lost commits and damaged codes are restored first, as far as the redo log and the segments have them.
        """
        from hashgrain.store.mend import restore

        with self._transaction(mending=True) as change:
            mended = restore(change, self.path, self._facts)
            last = change.before.sequence
            last = change_log.compact(
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
        """Replace the codes of all items by those of another model, with its grains, digest and grid, in one step.
        Items have only the parts that are given here."""
        from hashgrain.store import changes

        text = None if grid is None else grid_text(grid)
        with self._transaction() as change:
            changes.recode(change.connection, codes, parts, grains.n_words, None if text is None else grid_of(text))
            catalogue.set_facts(change.connection, self._facts, grains, digest, text)
            change.before = replace(change.before, sequence=change_log.start_history(change.connection))
            change.after = self._rewrite(change, grains.n_words)
        with translate_errors(self.path):
            self._readers.open()
            self._views.forget()
        self._after_rewrite()

    def _rewrite(self, change: Transaction, n_words: int) -> Counters:
        from hashgrain.store import segment_writer

        return segment_writer.rewrite(change.connection, self.path, n_words, change.before, self.segment_rows)

    def _after_rewrite(self) -> None:
        """Fold the rewrite in, since the redo log does not have it; renew all checksums, and delete old files."""
        with self._writing, translate_errors(self.path):
            writer = self._need_writer()
            writer.lost, writer.renew_checksums = 0, True
            self.folded = writer.fold()
            self._remove_leftovers()

    @contextmanager
    def _transaction(self, *, mending: bool = False) -> Iterator[Transaction]:
        """A transaction. If an error is raised inside, the library stays as it was, files included."""
        with self._writing, translate_errors(self.path):
            writer = self._need_writer()
            if writer.lost and not mending:
                raise LostCommitsError(self.path, writer.lost)
            with writer.transaction(self._remove_leftovers) as change:
                yield change

    def _remove_leftovers(self) -> None:
        """Free the space of uncommitted bytes, unless the list of committed ones may be damaged."""
        with suppress(sqlite3.Error, LibraryError, OSError):
            connection = self._need_writer().connection
            counters, committed = read_counters(connection, self.path), []
            for space in SPACES:
                extent, n_words = counters.extent_of(space), self.grains.n_words
                blocks = read_blocks(connection, self.path, space, n_words) if space is WHOLE or extent.segment else []
                infos = [info for info, _ in segments.group_blocks(blocks, space, n_words)]
                if sum(info.rows for info in infos) != extent.rows:
                    return
                committed += infos
            segments.remove_leftovers(self.path, committed)

    def _need_writer(self) -> Writer:
        if self._readers.closed:
            raise LibraryError(f"{self.path} is closed; open it again", path=self.path)
        if self._writer is None:
            raise LibraryError(f"{self.path} is open for reading; open it with mode='w' to change it", path=self.path)
        return self._writer

    def _ask(self, query: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
        with translate_errors(self.path), self._readers.borrowed() as connection:
            return connection.all(query, values)
