"""The one connection that writes: each change in the redo log and in the catalogue, or in neither.

The order of a commit: segment files are flushed, the record of the redo log is written, SQLite commits and flushes its
log, and then the redo log acknowledges the commit and is flushed. SQLite's log is folded into the catalogue here and
nowhere else, because the sums of the pages have to follow.
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

FOLD_BYTES = 4 << 20  # of SQLite's log: what it folds in by itself at, unless told not to


@dataclass
class Transaction:
    """A change under way. `after` and `steps` are for the caller to fill in."""

    connection: Connection
    before: Counters
    after: Counters
    steps: list[Step] = field(default_factory=list)


class Writer:
    """Holds the writing connection and the redo log of a library whose lock is held."""

    def __init__(self, library: Path, *, mend: bool = False, upgrading: bool = True) -> None:
        self.library = library
        self._process = os.getpid()
        self.renew_sums = False  # all of them, at the next fold
        self._sums_behind = False  # of a log that was folded in; its pages are left out as long as it stands
        self._unfolded = 0  # bytes of SQLite's log that could not be folded in
        self.connection = catalogue.connect(library, write=True, upgrading=upgrading)
        try:
            facts = catalogue.facts(self.connection, library)
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
        """Raise where this is not the process that opened the library, or the library is not there any more."""
        check_process(self.library, self._process)
        if catalogue_file.identity(self.library) != self.connection.identity:
            raise LibraryError(
                f"{self.library} was deleted or replaced while it was open; nothing was written to it",
                path=self.library,
            )

    @contextmanager
    def transaction(self, undo: Callable[[], None]) -> Iterator[Transaction]:
        """All or nothing. Whatever is raised inside, or by the commit itself, leaves the catalogue as it was."""
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
            # A failed COMMIT leaves the segment tail: if SQLite's log did reach the disk, it will be wanted.
            self.redo.end = end
            roll_back(self.connection)
            raise
        self._acknowledge(number)
        if not recorded or inside.size(self.library, page_checksums.LOG) > self._unfolded + FOLD_BYTES:
            with suppress(OSError, sqlite3.Error):  # the commit stands
                self.fold()

    def _acknowledge(self, number: int) -> None:
        """The commit is made and on the disk. A disk that will not take the count of it costs only the second copy."""
        with suppress(OSError):
            self.redo.acknowledge(number)
        self.check()  # what was deleted meanwhile is not acknowledged

    def fold(self) -> bool:
        """Fold SQLite's log into the catalogue and empty both logs, with the sums of the pages in between; whether
        that could be done.

        A log that was folded in is worse than none: damaged, it takes pages back to what they were. But a reader that
        looks at an earlier moment holds on to it; then it is folded in later, and the redo log is kept until then.
        """
        busy, frames, folded = self.connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        self._unfolded = inside.size(self.library, page_checksums.LOG)
        if busy or frames < 0 or frames != folded:  # -1 where it was not even looked at
            return False
        self._sums_behind = True
        page_checksums.update(self.library, renew=self.renew_sums)
        self._sums_behind = self.renew_sums = False
        self.connection.execute("PRAGMA busy_timeout = 0")
        busy, _, _ = self.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        self.connection.execute(f"PRAGMA busy_timeout = {int(1000 * catalogue.PATIENCE_S)}")
        if busy:
            return False
        self._unfolded = 0
        self.redo.empty()
        return True

    def _catch_up(self) -> None:
        """Before SQLite begins its log anew: sums of what was folded in, or none. Old ones would make pages seem
        damaged, while without sums they go unchecked."""
        if not self._sums_behind:
            return
        try:
            page_checksums.update(self.library, renew=self.renew_sums)
        except OSError:
            page_checksums.forget(self.library)
        self._sums_behind = self.renew_sums = False
