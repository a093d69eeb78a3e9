"""A ClickHouse server, by its HTTP interface: clickhouse://user@host:8123?database=photos, with TLS clickhouses://

The password is in the environment, as CLICKHOUSE_PASSWORD.
"""

from __future__ import annotations

import http.client
import os
from urllib.parse import unquote, urlencode, urlsplit

from hashgrain.engines.clickhouse import SETTINGS, database_of, error_of, rows_in
from hashgrain.engines.sql import Rows
from hashgrain.errors import EngineError

TIMEOUT = 10  # seconds to connect in
ANSWER_TIMEOUT = 600  # seconds between two pieces of an answer
PASSWORD = "CLICKHOUSE_PASSWORD"


class ClickHouseServer:
    """A connection, which is made again where it was lost."""

    def __init__(self, address: str) -> None:
        try:
            parts = urlsplit(address)
            host, port = parts.hostname, parts.port
        except ValueError as error:
            raise EngineError(f"the address of a ClickHouse server cannot be read: {error}") from None
        if not host or parts.path.strip("/"):
            raise EngineError(f"an address of a ClickHouse server is {parts.scheme}://user@host:8123?database=photos")
        if parts.password is not None:
            raise EngineError(f"the password for {host} belongs into the environment, as {PASSWORD}")
        self._secure = parts.scheme == "clickhouses"
        self._host, self._port = host, port or (8443 if self._secure else 8123)
        self.database = database_of(parts.query, f"{parts.scheme}://{host}")
        self.where = f"{parts.scheme}://{host}:{self._port}?database={self.database}"
        self._headers = {"X-ClickHouse-User": unquote(parts.username or "default")}
        if password := os.environ.get(PASSWORD):
            self._headers["X-ClickHouse-Key"] = password
        self._path = "/?" + urlencode({"default_format": "JSONCompact", "wait_end_of_query": "1", **SETTINGS})
        self._connection: http.client.HTTPConnection | None = None

    def is_new(self) -> bool:
        return False

    def run(self, query: str) -> Rows:
        """What only reads is asked again if a connection that was there is lost."""
        again = self._connection is not None and query.startswith("SELECT")
        try:
            return self._ask(query)
        except (OSError, http.client.HTTPException) as error:
            self.close()
            if not again:
                reason = str(error) or type(error).__name__
                raise EngineError(f"{self.where} cannot be reached or does not answer: {reason}") from None
        return self.run(query)

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _ask(self, query: str) -> Rows:
        if self._connection is None:
            self._connection = self._connected()
        self._connection.request("POST", self._path, query.encode(), self._headers)
        answer = self._connection.getresponse()
        said = answer.read().decode(errors="replace")
        if answer.status != 200:
            raise error_of(self.where, said)
        try:
            return rows_in(said)
        except (ValueError, KeyError, TypeError):
            raise EngineError(f"what {self.where} answers is not of a ClickHouse server") from None

    def _connected(self) -> http.client.HTTPConnection:
        kind = http.client.HTTPSConnection if self._secure else http.client.HTTPConnection
        connection = kind(self._host, self._port, timeout=TIMEOUT)
        connection.connect()
        connection.sock.settimeout(ANSWER_TIMEOUT)
        return connection
