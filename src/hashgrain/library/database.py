"""The codes of a library in a database, apart from a search: put there, brought up to date, removed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from hashgrain.codes import Grains
from hashgrain.engines import catch_up, dialect_at, engine_in, lag
from hashgrain.engines.sql import Dialect, State
from hashgrain.errors import EngineError, Remedy
from hashgrain.store import Snapshot, Store


@dataclass(frozen=True)
class DatabaseStatus:
    """How far the database is behind the library."""

    engine: str  # the address, without passwords
    attached: bool  # whether it has the codes of this library
    changes: int  # of the library, all in all
    behind: int  # that the database does not have yet


class Database:
    """A place for the codes of one library in a database server. Every call connects anew.

    A search there brings the codes up to date by itself. These methods do so without a search, in front of one.
    """

    def __init__(self, store: Store, grains: Grains, address: str) -> None:
        self._store, self._grains, self._address = store, grains, address

    def status(self) -> DatabaseStatus:
        """Nothing is written there. Raises EngineError if the codes there are of another library."""
        with self._connected() as dialect, self._store.snapshot() as snapshot:
            changes = behind = snapshot.sequence
            attached = dialect.state() is not None
            if attached:
                behind = lag(engine_in(dialect, self._grains), snapshot, self._store.path)
            return DatabaseStatus(dialect.where, attached, changes, behind)

    def attach(self, progress: Callable[[int], None] = lambda done: None) -> DatabaseStatus:
        """Make the tables, if there are none, and fill them. What was stopped is continued. `progress` is called with
        the number of changes that were sent."""
        with self._connected() as dialect, self._store.snapshot() as snapshot:
            return self._filled(dialect, snapshot, progress)

    def sync(self, progress: Callable[[int], None] = lambda done: None) -> DatabaseStatus:
        """Bring what has changed in the library since the last time, to tables that are there."""
        with self._connected() as dialect, self._store.snapshot() as snapshot:
            self._need_tables(dialect)
            return self._filled(dialect, snapshot, progress)

    def detach(self) -> DatabaseStatus:
        """Remove the tables of this library there. The library stays as it is."""
        with self._connected() as dialect, self._store.snapshot() as snapshot:
            state = self._need_tables(dialect)
            if state.library not in ("", snapshot.history()):
                raise EngineError(f"{dialect.where} has the codes of another library; they stay there")
            dialect.drop_tables()
            return DatabaseStatus(dialect.where, False, snapshot.sequence, snapshot.sequence)

    @contextmanager
    def _connected(self) -> Iterator[Dialect]:
        dialect = dialect_at(self._address)
        try:
            yield dialect
        finally:
            dialect.close()

    def _need_tables(self, dialect: Dialect) -> State:
        state = dialect.state()
        if state is None:
            remedy = Remedy("attach the library to it", "attach", library=self._store.path)
            raise EngineError(f"{dialect.where} has no codes of a library", remedy=remedy)
        return state

    def _filled(self, dialect: Dialect, snapshot: Snapshot, progress: Callable[[int], None]) -> DatabaseStatus:
        catch_up(engine_in(dialect, self._grains), snapshot, self._store.path, progress)
        return DatabaseStatus(dialect.where, True, snapshot.sequence, 0)
