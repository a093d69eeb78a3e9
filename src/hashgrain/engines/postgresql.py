"""The codes of a library in PostgreSQL, 15 or later, as columns of bits: `bit_count(column # query)`.

The address is as for every program that speaks to PostgreSQL, and the same environment and files hold what it leaves
out, passwords above all. Its parameter `schema` names the tables of a library: postgresql://host/database?schema=photos
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from hashgrain.engines.part_rows import Ids
from hashgrain.engines.sql import CodeRow, Rows, State
from hashgrain.errors import EngineError

if TYPE_CHECKING:
    import psycopg

T = TypeVar("T")
SCHEMA = "hashgrain"
LEAST_VERSION = 150_000
TIMEOUT = 10  # seconds to connect in
FORMAT = 1
THERE = "SELECT 1 FROM pg_catalog.pg_tables WHERE schemaname = %s AND tablename = 'state'"


class PostgreSql:
    """A connection, which is made again where it was lost."""

    def __init__(self, address: str) -> None:
        self.schema, self._address, self.where = _parsed(address)
        self._connection: psycopg.Connection[Any] | None = None
        self._columns = 0

    def state(self) -> State | None:
        if not self._read(THERE, [self.schema]):
            return None
        ((form, library, sequence, grains),) = self._read(
            f"SELECT format, library, sequence, grains FROM {self.schema}.state"
        )
        if form != FORMAT:
            raise EngineError(f"{self.where} has tables of format {form}; this HashGrain knows format {FORMAT}")
        self._columns = len(grains.split())
        return State(library, sequence, grains)

    def make_tables(self, widths: Sequence[int], grains: str) -> None:
        self._columns = len(widths)
        columns = ", ".join(f"g{n} bit({width}) NOT NULL" for n, width in enumerate(widths))
        state = "format int NOT NULL, library text NOT NULL, sequence bigint NOT NULL, grains text NOT NULL"

        def make(connection: psycopg.Connection[Any]) -> None:
            connection.execute("SELECT pg_advisory_xact_lock(hashtext(%s))", [f"hashgrain {self.schema}"])
            if connection.execute(THERE, [self.schema]).fetchone():  # made by another program, meanwhile
                return
            connection.execute(f"CREATE SCHEMA IF NOT EXISTS {self.schema}")
            rows = f"item bigint NOT NULL, part int NOT NULL, {columns}, PRIMARY KEY (item, part)"
            connection.execute(f"CREATE TABLE {self.schema}.codes ({rows})")
            connection.execute(f"CREATE TABLE {self.schema}.state ({state})")
            connection.execute(f"INSERT INTO {self.schema}.state VALUES (%s, '', 0, %s)", [FORMAT, grains])

        self._write(make)

    def replace(self, known: State, new: State, items: Sequence[int], rows: Sequence[CodeRow]) -> State:
        columns = ", ".join(["item", "part", *(f"g{n}" for n in range(self._columns))])
        edges = [0, *(int(each.rpartition(":")[2]) for each in known.grains.split())]
        cuts = list(itertools.pairwise(edges))

        def replace(connection: psycopg.Connection[Any]) -> State:
            found = connection.execute(f"SELECT library, sequence FROM {self.schema}.state FOR UPDATE").fetchone()
            assert found is not None
            if found not in ((known.library, known.sequence), ("", 0)):
                return State(found[0], found[1], known.grains)
            connection.execute(f"DELETE FROM {self.schema}.codes WHERE item = ANY(%s)", [list(items)])
            with connection.cursor().copy(f"COPY {self.schema}.codes ({columns}) FROM STDIN") as copy:
                for row in rows:
                    copy.write_row((row.item, row.part, *(row.bits[low:high] for low, high in cuts)))
            connection.execute(
                f"UPDATE {self.schema}.state SET library = %s, sequence = %s", [new.library, new.sequence]
            )
            return new

        return self._write(replace)

    def differing(self, column: int, bits: str) -> str:
        return f"bit_count(g{column} # B'{bits}')"

    def among(self, ids: Ids) -> tuple[str, list[Any]]:
        return "item = ANY(%s)", [ids.tolist()]

    def code(self) -> str:
        return " || ".join(f"g{n}::text" for n in range(self._columns))

    def ask(self, query: str, values: Sequence[Any]) -> Rows:
        for table in ("codes", "state"):
            query = query.replace(f"FROM {table}", f"FROM {self.schema}.{table}")
        return self._read(query, values)

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _read(self, query: str, values: Sequence[Any] = ()) -> Rows:
        """The rows of a query, which is asked again if the connection was lost: reading twice does no harm."""
        import psycopg

        def read() -> Rows:
            return self._connected().execute(query, values).fetchall()

        try:
            return self._translated(read)
        except (psycopg.OperationalError, psycopg.InterfaceError):
            self.close()
        try:
            return self._translated(read)
        except (psycopg.OperationalError, psycopg.InterfaceError) as error:
            raise self._lost(error) from None

    def _write(self, act: Callable[[psycopg.Connection[Any]], T]) -> T:
        """Act in a transaction. It is not tried again: whether it was made is in the state, which is read first."""
        import psycopg

        def write() -> T:
            connection = self._connected()
            with connection.transaction():
                return act(connection)

        try:
            return self._translated(write)
        except (psycopg.OperationalError, psycopg.InterfaceError) as error:
            self.close()
            raise self._lost(error) from None

    def _translated(self, act: Callable[[], T]) -> T:
        """Errors of the database as ours, but for those of a connection that was lost."""
        import psycopg

        try:
            return act()
        except (psycopg.OperationalError, psycopg.InterfaceError):
            raise
        except psycopg.Error as error:
            raise EngineError(f"{self.where}: {_reason(error)}") from None

    def _connected(self) -> psycopg.Connection[Any]:
        if self._connection is None or self._connection.closed:
            self._connection = self._connect()
        return self._connection

    def _connect(self) -> psycopg.Connection[Any]:
        import psycopg

        connection = psycopg.connect(self._address, autocommit=True, connect_timeout=TIMEOUT)
        if connection.info.server_version < LEAST_VERSION:
            version = connection.info.server_version // 10_000
            connection.close()
            raise EngineError(f"{self.where} is PostgreSQL {version}; it takes 15 or later, which can count bits")
        return connection

    def _lost(self, error: psycopg.Error) -> EngineError:
        return EngineError(f"{self.where} cannot be reached or does not answer: {_reason(error)}")


def _parsed(address: str) -> tuple[str, str, str]:
    """The schema, the address without it, and the address for people: without what may be a password."""
    parts = urlsplit(address)
    parameters = dict(parse_qsl(parts.query))
    schema = parameters.pop("schema", SCHEMA)
    where = f"postgresql://{parts.hostname or ''}{parts.path}"
    if not re.fullmatch(r"[a-z_][a-z0-9_]{0,62}", schema):
        raise EngineError(f"{where}: a schema is named by small letters, digits and _, not {schema!r}")
    return schema, urlunsplit(parts._replace(query=urlencode(parameters))), f"{where}?schema={schema}"


def _reason(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0]
