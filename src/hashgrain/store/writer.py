"""The one connection that writes: each change is in the redo log and in the catalogue, or in neither.

The order of a commit: segment files are flushed, the record of the redo log is written, SQLite commits and flushes its
log, and then the redo log acknowledges the commit and is flushed. SQLite's log is folded into the catalogue only here,
because the checksums of pages are updated with it.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from hashgrain import inside
from hashgrain.errors import LibraryError
from hashgrain.store import catalogue, catalogue_file, page_checksums
from hashgrain.store.catalogue import Connection
from hashgrain.store.counters import Counters, read_counters, write_counters
from hashgrain.store.readers import LostCommitsError, check_process, lost_commits, roll_back
from hashgrain.store.redo import RedoLog, Step

FOLD_BYTES = 4 << 20  # of SQLite's log; SQLite's own default is about the same


@dataclass
class Transaction:
    """A change in progress. The caller sets `after` and `steps`."""

    connection: Connection
    before: Counters
    after: Counters
    steps: list[Step] = field(default_factory=list)


class Writer:
    """The writing connection and the redo log of a library. The caller has its lock."""

    def __init__(self, library: Path, *, mend: bool = False, upgrading: bool = True) -> None:
        self.library = library
        self._process = os.getpid()
        self.renew_checksums = False  # all of them, at the next fold
        self._checksums_stale = False  # after a fold without an update; pages in the log are not checked meanwhile
        self._unfolded = 0  # bytes of SQLite's log that could not be folded in
        self.connection = catalogue.connect(library, write=True, upgrading=upgrading)
        try:
            facts = catalogue.library_facts(self.connection, library)
            self.lost = lost_commits(library, facts, self.connection)
            if self.lost and not mend:
                raise LostCommitsError(library, self.lost)
            self.redo = RedoLog(library, facts.owner)
        except BaseException:
            self.connection.close()
            raise

    def close(self) -> None:
        folded = False
        try:
            with suppress(sqlite3.Error, OSError, LibraryError):
                folded = self.fold()
        finally:
            self.redo.close()
            with suppress(sqlite3.Error):
                self.connection.close_last() if folded else self.connection.close()

    def check(self) -> None:
        """Raise if another process opened the library, or if the library was deleted or replaced."""
        check_process(self.library, self._process)
        if catalogue_file.identity(self.library) != self.connection.identity:
            raise LibraryError(
                f"{self.library} was deleted or replaced while it was open; nothing was written to it",
                path=self.library,
            )

    @contextmanager
    def transaction(self, undo: Callable[[], None]) -> Iterator[Transaction]:
        """A transaction. If an error is raised inside, or by the commit itself, the catalogue stays as it was."""
        self.check()
        roll_back(self.connection)  # an interrupt between two statements
        self._catch_up()
        self.connection.execute("BEGIN IMMEDIATE")
        end = self.redo.end
        try:
            before = read_counters(self.connection, self.library)
            change = Transaction(self.connection, before, before)
            yield change
            number = change.after.commit + 1
            write_counters(self.connection, replace(change.after, commit=number), before)
            recorded = self.redo.write(number, change.steps)
        except BaseException:
            self.redo.end = end
            roll_back(self.connection)
            undo()
            raise
        try:
            self.connection.execute("COMMIT")
        except BaseException:
            # A failed COMMIT keeps the appended rows: they are needed if SQLite's log did reach the disk.
            self.redo.end = end
            roll_back(self.connection)
            raise
        self._acknowledge(number)
        if not recorded or inside.size(self.library, page_checksums.WAL) > self._unfolded + FOLD_BYTES:
            with suppress(OSError, sqlite3.Error):  # the commit stands
                self.fold()

    def _acknowledge(self, number: int) -> None:
        """Record that the commit is on the disk. If the disk is full, only the copy in the redo log is lost."""
        with suppress(OSError):
            self.redo.acknowledge(number)
        self.check()  # a commit to a library that was deleted meanwhile is not acknowledged

    def fold(self) -> bool:
        """Fold SQLite's log into the catalogue, update the checksums of pages, and empty both logs; returns whether
        that was possible.

        A log that was folded in must be emptied: if it gets damaged, it reverts pages. But readers of an earlier
        snapshot still need it. Then it is folded in later, and the redo log is kept until then.
        """
        busy, frames, folded = self.connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        self._unfolded = inside.size(self.library, page_checksums.WAL)
        if busy or frames < 0 or frames != folded:  # -1 if SQLite did not even read it
            return False
        if self.connection.version >= page_checksums.SINCE:
            self._checksums_stale = True
            page_checksums.update(self.library, renew=self.renew_checksums)
            self._checksums_stale = self.renew_checksums = False
        self.connection.execute("PRAGMA busy_timeout = 0")
        busy, _, _ = self.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        self.connection.execute(f"PRAGMA busy_timeout = {int(1000 * catalogue.BUSY_TIMEOUT_S)}")
        if busy:
            return False
        self._unfolded = 0
        self.redo.empty()
        return True

    def _catch_up(self) -> None:
        """Update the checksums of folded pages, or delete all, before SQLite restarts its log. Stale checksums would
        make pages seem damaged; without any, pages go unchecked."""
        if not self._checksums_stale:
            return
        try:
            page_checksums.update(self.library, renew=self.renew_checksums)
        except OSError:
            page_checksums.forget(self.library)
        self._checksums_stale = self.renew_checksums = False
