"""A pool of connections for reading, which are reused, and only for the library that was opened."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from hashgrain.errors import LibraryError, LibraryReplacedError
from hashgrain.store import catalogue, catalogue_file, redo
from hashgrain.store.catalogue import Connection, LibraryFacts
from hashgrain.store.counters import read_counters
from hashgrain.store.errors import MendableError
from hashgrain.store.schema import FORMAT


class Readers:
    """A pool of connections to the catalogue, for one process and several threads."""

    def __init__(self, library: Path) -> None:
        self.library = library
        self._process = os.getpid()
        self._lock = threading.Lock()
        self._idle: list[Connection] = []
        self._closed = False
        self._facts: LibraryFacts | None = None

    def close(self) -> None:
        with self._lock:
            self._closed = True
            for connection in self._idle:
                connection.close()
            self._idle.clear()

    @property
    def closed(self) -> bool:
        return self._closed

    @property
    def facts(self) -> LibraryFacts:
        """The settings of the library."""
        assert self._facts is not None, "it is opened first"
        return self._facts

    def open(self, *, mend: bool = False) -> None:
        """Read the settings of the library. With `mend`, a catalogue that lost changes is opened too."""
        connection = catalogue.connect(self.library)
        try:
            facts = catalogue.library_facts(connection, self.library)
            if not mend:
                check_commits(self.library, facts, connection)
            self._facts = facts
        finally:
            self._give_back(connection)

    @contextmanager
    def borrowed(self) -> Iterator[Connection]:
        connection = self.borrow()
        try:
            yield connection
        finally:
            self._give_back(connection)

    def borrow(self) -> Connection:
        """A connection to the library that was opened; raise if it is gone or was replaced by another."""
        check_process(self.library, self._process)
        with self._lock:
            if self._closed:
                raise LibraryError(f"{self.library} is closed; open it again", path=self.library)
            identity = catalogue_file.identity(self.library)
            while self._idle:
                connection = self._idle.pop()
                if connection.identity == identity and not _upgraded(connection):
                    return connection
                connection.close()
        connection = catalogue.connect(self.library)
        try:
            facts = catalogue.library_facts(connection, self.library)
            if self._facts is None or (facts.digest, facts.created) != (self._facts.digest, self._facts.created):
                raise LibraryReplacedError(
                    f"{self.library} was replaced by another library meanwhile; open it again", path=self.library
                )
            check_commits(self.library, facts, connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def give_back(self, connection: Connection) -> None:
        self._give_back(connection)

    def _give_back(self, connection: Connection) -> None:
        roll_back(connection)
        with self._lock:
            if self._closed or connection.frozen:
                connection.close()
            else:
                self._idle.append(connection)


def _upgraded(connection: Connection) -> bool:
    """Whether a writer upgraded the catalogue after this connection to its older format was opened."""
    if connection.version == FORMAT:
        return False
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    return bool(version != connection.version)


def check_process(library: Path, opened_in: int) -> None:
    """SQLite's locks belong to a process: a forked child would write beside its parent."""
    if os.getpid() != opened_in:
        raise LibraryError(f"{library} was opened before this process was forked; open it again here", path=library)


def check_commits(library: Path, facts: LibraryFacts, connection: Connection) -> None:
    """Raise if acknowledged commits are missing from the catalogue."""
    lost = lost_commits(library, facts, connection)
    if lost:
        raise LostCommitsError(library, lost)


def lost_commits(library: Path, facts: LibraryFacts, connection: Connection) -> int:
    """How many acknowledged commits the catalogue lacks. Read in this order, a commit made meanwhile does not count."""
    acknowledged = redo.acknowledged(library, facts.owner)
    connection.execute("BEGIN")
    commit = read_counters(connection, library).commit
    roll_back(connection)
    return max(0, (commit if acknowledged is None else acknowledged) - commit)


class LostCommitsError(MendableError):
    def __init__(self, library: Path, lost: int) -> None:
        changes = "change is" if lost == 1 else f"{lost} changes are"
        reason = f"the last {changes} missing: its write-ahead log was damaged or deleted"
        super().__init__(library, library / catalogue.NAME, reason)


def roll_back(connection: Connection) -> None:
    with suppress(sqlite3.Error):
        if connection.in_transaction:
            connection.execute("ROLLBACK")
