"""The codes of a library in PostgreSQL, 15 or later, as columns of bits: `bit_count(column # query)`.

The address is as for every program that speaks to PostgreSQL, and the same environment and files hold what it leaves
out, passwords above all. Its parameter `schema` names the tables of a library: postgresql://host/database?schema=photos
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import parse_qsl, urlencode, urlsplit

from hashgrain.engines.part_rows import Ids
from hashgrain.engines.sql import CodeRow, Rows, State, columns_of
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
        _driver()
        self._schema, self._address, self.where = _parsed(address)
        self.codes, self.states = f"{self._schema}.codes", f"{self._schema}.state"
        self._connection: psycopg.Connection[Any] | None = None
        self._columns = 0

    def state(self) -> State | None:
        if not self.ask(THERE, [self._schema]):
            return None
        ((form, library, sequence, grains),) = self.ask(
            f"SELECT format, library, sequence, grains FROM {self.states}", []
        )
        if form != FORMAT:
            raise EngineError(f"{self.where} has tables of format {form}; this HashGrain knows format {FORMAT}")
        self._columns = len(grains.split())
        return State(library, sequence, grains)

    def make_tables(self, widths: Sequence[int], grains: str) -> None:
        columns = ", ".join(f"g{n} bit({width}) NOT NULL" for n, width in enumerate(widths))
        rows = f"item bigint NOT NULL, part int NOT NULL, {columns}, PRIMARY KEY (item, part)"
        state = "format int NOT NULL, library text NOT NULL, sequence bigint NOT NULL, grains text NOT NULL"

        def make(connection: psycopg.Connection[Any]) -> None:
            connection.execute("SELECT pg_advisory_xact_lock(hashtext(%s))", [f"hashgrain {self._schema}"])
            if connection.execute(THERE, [self._schema]).fetchone():
                return
            connection.execute(f"CREATE SCHEMA IF NOT EXISTS {self._schema}")
            connection.execute(f"CREATE TABLE {self.codes} ({rows})")
            connection.execute(f"CREATE TABLE {self.states} ({state})")
            connection.execute(f"INSERT INTO {self.states} VALUES (%s, '', 0, %s)", [FORMAT, grains])

        self._change(make)

    def drop_tables(self) -> None:
        """The schema goes, too, if nothing else is in it."""

        def drop(connection: psycopg.Connection[Any]) -> None:
            connection.execute(f"DROP TABLE IF EXISTS {self.codes}, {self.states}")
            rest = "SELECT 1 FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
            if connection.execute(f"{rest} WHERE n.nspname = %s LIMIT 1", [self._schema]).fetchone() is None:
                connection.execute(f"DROP SCHEMA IF EXISTS {self._schema} RESTRICT")

        self._change(drop)

    def replace(self, known: State, new: State, items: Sequence[int], rows: Sequence[CodeRow]) -> State:
        columns = ", ".join(["item", "part", *(f"g{n}" for n in range(self._columns))])
        cuts = columns_of(known.grains)

        def replace(connection: psycopg.Connection[Any]) -> State:
            found = connection.execute(f"SELECT library, sequence FROM {self.states} FOR UPDATE").fetchone()
            assert found is not None
            library, sequence = found
            if sequence != known.sequence or (library != known.library and sequence):  # empty tables are of no library
                return State(library, sequence, known.grains)
            connection.execute(f"DELETE FROM {self.codes} WHERE item = ANY(%s)", [list(items)])
            with connection.cursor().copy(f"COPY {self.codes} ({columns}) FROM STDIN") as copy:
                for row in rows:
                    copy.write_row((row.item, row.part, *(row.bits[low:high] for low, high in cuts)))
            connection.execute(f"UPDATE {self.states} SET library = %s, sequence = %s", [new.library, new.sequence])
            return new

        return self._change(replace)

    def differing(self, column: int, bits: str) -> str:
        return f"bit_count(g{column} # B'{bits}')"

    def among(self, ids: Ids) -> tuple[str, list[Any]]:
        return "item = ANY(%s)", [ids.tolist()]

    def best_parts(self, compared: str) -> str:
        ranked = "row_number() OVER (PARTITION BY item ORDER BY near, whole, part) AS place"
        return f"SELECT item, part, near, whole FROM (SELECT *, {ranked} FROM ({compared}) a) b WHERE place = 1"

    def now(self) -> str:
        return f"(SELECT concat(library, ' ', sequence) FROM {self.states})"

    def code(self) -> str:
        return " || ".join(f"g{n}::text" for n in range(self._columns))

    def ask(self, query: str, values: Sequence[Any]) -> Rows:
        """The rows of a query. It is asked again if the connection was lost: reading twice does no harm."""

        def read(connection: psycopg.Connection[Any]) -> Rows:
            return connection.execute(query, values).fetchall()

        return self._done(read, again=self._connection is not None)

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _change(self, act: Callable[[psycopg.Connection[Any]], T]) -> T:
        """Act in a transaction. It is not tried again: whether it was made is in the state, which is read first."""

        def change(connection: psycopg.Connection[Any]) -> T:
            with connection.transaction():
                return act(connection)

        return self._done(change, again=False)

    def _done(self, act: Callable[[psycopg.Connection[Any]], T], *, again: bool) -> T:
        import psycopg

        try:
            return act(self._connected())
        except (psycopg.OperationalError, psycopg.InterfaceError) as error:
            self.close()
            if not again:
                raise EngineError(f"{self.where} cannot be reached or does not answer: {_reason(error)}") from None
        except psycopg.Error as error:
            raise EngineError(f"{self.where}: {_reason(error)}") from None
        return self._done(act, again=False)

    def _connected(self) -> psycopg.Connection[Any]:
        import psycopg

        if self._connection is None or self._connection.closed:
            self._connection = psycopg.connect(self._address, autocommit=True, connect_timeout=TIMEOUT)
            if self._connection.info.server_version < LEAST_VERSION:
                version = self._connection.info.server_version // 10_000
                self.close()
                raise EngineError(
                    f"{self.where} is PostgreSQL {version}; it has to be {LEAST_VERSION // 10_000} or later"
                )
        return self._connection


def _driver() -> None:
    try:
        import psycopg  # noqa: F401
    except ImportError:
        message = "searching in PostgreSQL takes psycopg, which is not installed"
        raise EngineError(message, remedy="pip install 'hashgrain[postgresql]'") from None


def _parsed(address: str) -> tuple[str, str, str]:
    """The schema, the address without it, and the address for people: without what may be a password."""
    base, _, query = address.partition("?")
    try:
        parts = urlsplit(base)
        where = f"postgresql://{parts.hostname or ''}{parts.path}"
    except ValueError as error:
        raise EngineError(f"the address of a PostgreSQL server cannot be read: {error}") from None
    parameters = dict(parse_qsl(query))
    schema = parameters.pop("schema", SCHEMA)
    if not re.fullmatch(r"[a-z_][a-z0-9_]{0,62}", schema):
        raise EngineError(f"{where}: a schema is named by small letters, digits and _, not {schema!r}")
    return schema, f"{base}?{urlencode(parameters)}" if parameters else base, f"{where}?schema={schema}"


def _reason(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0]
