"""The HTTP interface of a ClickHouse server, as documented, in front of the engine that chdb has in this process."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from hashgrain.engines.chdb import Chdb
from hashgrain.engines.clickhouse import SETTINGS

USER, PASSWORD = "tester", "of tests"


class Front(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address: str) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.engine: Any = Chdb(address)
        self.engine.run("SELECT 1")
        self.lock = threading.Lock()
        self.asked = self.inserts = 0
        self.drop = False  # the connection, before the next query
        self.drop_inserts = False
        self.says: bytes | None = None  # instead of an answer

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    server: Front
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        query = self.rfile.read(int(self.headers["Content-Length"])).decode()
        front = self.server
        front.asked += 1
        front.inserts += query.startswith("INSERT")
        if front.drop or (front.drop_inserts and query.startswith("INSERT")):
            front.drop = False
            self.connection.close()
            self.close_connection = True
            return
        given = parse_qs(urlsplit(self.path).query)
        assert {name: given[name] for name in SETTINGS} == {name: [value] for name, value in SETTINGS.items()}
        (form,) = given["default_format"]
        if (self.headers["X-ClickHouse-User"], self.headers["X-ClickHouse-Key"]) != (USER, PASSWORD):
            self._answer(403, b"Code: 516. DB::Exception: tester: Authentication failed. (AUTHENTICATION_FAILED)")
        elif front.says is not None:
            self._answer(200, front.says)
        else:
            with front.lock:
                try:
                    said = str(front.engine._session.query(query, form))
                except RuntimeError as error:
                    self._answer(404, str(error).encode())
                    return
            self._answer(200, said.encode())

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *about: object) -> None:
        pass


@contextmanager
def front_of(address: str) -> Iterator[Front]:
    with Front(address) as front:
        thread = threading.Thread(target=front.serve_forever, daemon=True)
        thread.start()
        yield front
        front.shutdown()
        front.engine.close()
