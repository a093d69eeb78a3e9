"""A real server in a process of its own, and ways to ask it that no polite client has."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

SECONDS = 110  # a busy machine takes long to start one


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]  # names in lower case
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Served:
    """A server that was started, and its log."""

    process: subprocess.Popen[bytes]
    address: str
    log: Path

    @property
    def place(self) -> tuple[str, int]:
        parts = urlsplit(self.address)
        return str(parts.hostname), int(parts.port or 80)

    def ask(self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> Answer:
        """One request over a connection of its own. A body that is not bytes is sent as JSON."""
        connection = HTTPConnection(*self.place, timeout=SECONDS)
        own = dict(headers or {})
        if body is not None and not isinstance(body, (bytes, str)):
            body, own = json.dumps(body), {"Content-Type": "application/json", **own}
        try:
            connection.request(method, path, body, own)
            answer = connection.getresponse()
            named = {name.lower(): value for name, value in answer.getheaders()}
            return Answer(answer.status, named, answer.read())
        finally:
            connection.close()

    def raw(self, content: bytes, *, end: bool = False) -> bytes:
        """What comes back for these bytes; with `end` the client sends no more."""
        with socket.create_connection(self.place, timeout=SECONDS) as connection:
            connection.sendall(content)
            if end:
                connection.shutdown(socket.SHUT_WR)
            connection.settimeout(20)
            received = b""
            while b"\r\n\r\n" not in received and (more := connection.recv(65536)):
                received += more
            return received

    def stop(self) -> int:
        if self.process.poll() is None:
            self.process.terminate()
        return self.process.wait(SECONDS)


def start(library: Path, log: Path, *options: object, env: Mapping[str, str] | None = None) -> Served:
    """`hashgrain serve` at a free port, once it answers."""
    command = [sys.executable, "-m", "hashgrain", "serve", str(library), "--port", "0", *map(str, options)]
    with log.open("wb") as errors:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, env={**os.environ, **(env or {})})
    assert process.stdout is not None
    line = process.stdout.readline().decode().strip()
    assert line.startswith("http://"), log.read_text()
    return Served(process, line, log)


@contextmanager
def running(library: Path, log: Path, *options: object) -> Iterator[Served]:
    """A server that ends well when the block does, without an error that nobody foresaw."""
    server = start(library, log, *options)
    try:
        yield server
    finally:
        code = server.stop()
    assert code == 0
    said = server.log.read_text()
    assert "Traceback" not in said
    assert "internal" not in said
