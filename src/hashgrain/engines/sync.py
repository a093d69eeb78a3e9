"""Engines by name, and the synchronization of an engine that has its own codes with a library."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from hashgrain.codes import Grains
from hashgrain.engines.protocol import Engine, is_engine
from hashgrain.errors import EngineError
from hashgrain.store import Change, Snapshot, Store

if TYPE_CHECKING:
    from hashgrain.engines.sql import Dialect

EMBEDDED = "embedded"  # searches the segments of the library itself, so it never lags behind
POSTGRESQL = ("postgresql://", "postgres://")  # how an address of one begins
CLICKHOUSE = ("clickhouse://", "clickhouses://")
CHDB = "chdb://"  # the engine of ClickHouse, in this process
ENGINES = (EMBEDDED, "postgresql://...", "clickhouse://...", "chdb:///folder")


def engine_of(engine: Engine | str | None) -> Engine | str | None:
    """The given engine, the address of one in a database, or None for the embedded one."""
    if engine is None or engine == EMBEDDED:
        return None
    if isinstance(engine, str) and engine.startswith((*POSTGRESQL, *CLICKHOUSE, CHDB)):
        return engine
    if isinstance(engine, str):
        kind, _, address = engine.partition("://")  # which may have a password
        shown = f"{kind}://..." if address else engine
        raise EngineError(f"there is no engine {shown!r}; there is {', '.join(ENGINES)}, or an engine object")
    if not is_engine(engine):
        raise EngineError(f"{type(engine).__name__} is no engine; it has the methods of hashgrain.engines.Engine")
    return engine


def connected(address: str, grains: Grains) -> Engine:
    """The engine in the database at this address, whose tables are made if there are none."""
    dialect = dialect_at(address)
    try:
        return engine_in(dialect, grains)
    except BaseException:
        dialect.close()
        raise


def dialect_at(address: str) -> Dialect:
    """The database at this address."""
    given = engine_of(address)
    if not isinstance(given, str):
        raise EngineError(f"{address!r} is no address of a database; that is {', '.join(ENGINES[1:])}")
    if given.startswith(CHDB):
        from hashgrain.engines.chdb import Chdb
        from hashgrain.engines.clickhouse import ClickHouse

        return ClickHouse(Chdb(given))
    if given.startswith(CLICKHOUSE):
        from hashgrain.engines.clickhouse import ClickHouse
        from hashgrain.engines.clickhouse_server import ClickHouseServer

        return ClickHouse(ClickHouseServer(given))
    from hashgrain.engines.postgresql import PostgreSql

    return PostgreSql(given)


def engine_in(dialect: Dialect, grains: Grains) -> Engine:
    from hashgrain.engines.sql import SqlEngine

    return SqlEngine(dialect, grains)


def lag(engine: Engine, snapshot: Snapshot, library: Path) -> int:
    """The number of changes that the engine has not applied yet; raise if it cannot follow the library."""
    fed = bool(engine.library or engine.sequence)
    if fed and engine.library != snapshot.history():
        raise EngineError(
            f"the engine holds the codes of another library than {library}, or those that it had before its model"
            " was changed or lost changes were made again; give it an empty engine"
        )
    if engine.sequence > snapshot.sequence:
        raise EngineError(
            f"the engine is ahead of {library}: it has applied change {engine.sequence}, and the last one of the"
            f" library is {snapshot.sequence}. If the library was restored from a backup, give it an empty engine"
        )
    return snapshot.sequence - engine.sequence


def catch_up(
    engine: Engine, snapshot: Snapshot, library: Path, progress: Callable[[int], None] = lambda done: None
) -> None:
    """Apply all changes up to the snapshot to the engine. `progress` is called with the number of those it took."""
    if lag(engine, snapshot, library) == 0:
        return
    if not engine.library:
        engine.library = snapshot.history()
    engine.apply(_counted(snapshot.changes(engine.sequence), progress))
    left = lag(engine, snapshot, library)
    if left:
        raise EngineError(
            f"the engine is behind {library}: it did not apply the last {left} of {snapshot.sequence} changes that it"
            " was given; correct the engine, then search again"
        )


def _counted(changes: Iterable[Change], progress: Callable[[int], None]) -> Iterator[Change]:
    for taken, change in enumerate(changes, 1):
        yield change
        progress(taken)


@contextmanager
def synced_snapshot(engine: Engine, store: Store) -> Iterator[Snapshot]:
    """A snapshot of the library, with the engine synchronized to it."""
    with store.snapshot() as snapshot:
        if engine.sequence <= snapshot.sequence:
            catch_up(engine, snapshot, store.path)
            yield snapshot
            return
    with store.snapshot() as snapshot:  # another process may have applied a later commit to it meanwhile
        catch_up(engine, snapshot, store.path)
        yield snapshot
