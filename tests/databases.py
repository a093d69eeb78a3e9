"""Real databases for tests: a PostgreSQL server in a folder of its own, the engine of ClickHouse in this process."""

from __future__ import annotations

import atexit
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from hashgrain import Grains
from hashgrain.engines.chdb import Chdb
from hashgrain.engines.clickhouse import ClickHouse
from hashgrain.engines.postgresql import PostgreSql
from hashgrain.engines.sql import Dialect, SqlEngine
from hashgrain.store import Change

NAMES = ("initdb", "postgres", "pg_isready")
OWNER = "postgres"  # the server refuses to run as root


def programs() -> Path | None:
    """The folder of `initdb` and `postgres`."""
    found = shutil.which("initdb")
    folders = [Path(found).resolve().parent] if found else []
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((folder for folder in folders if all((folder / name).exists() for name in NAMES)), None)


def _identity() -> dict[str, Any]:
    return {"user": OWNER, "group": OWNER, "extra_groups": []} if os.getuid() == 0 else {}


class Server:
    """One server, which can be killed and started again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        where = programs()
        assert where is not None
        self.where = where
        self.process: subprocess.Popen[Any] | None = None

    def make(self) -> None:
        self.folder.mkdir(exist_ok=True)
        if os.getuid() == 0:
            shutil.chown(self.folder, OWNER, OWNER)
        options = ["--auth=trust", f"--username={OWNER}", "--encoding=UTF8", "--no-sync"]
        command = [self.where / "initdb", "-D", self.folder / "data", *options]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=self.folder, **_identity())

    def start(self) -> None:
        settings = [f"unix_socket_directories={self.folder}", "listen_addresses=", "max_connections=40"]
        command = [self.where / "postgres", "-D", self.folder / "data"]
        command += [word for setting in settings for word in ("-c", setting)]
        with (self.folder.parent / "postgres.log").open("ab") as log:
            self.process = subprocess.Popen(
                command, stdout=log, stderr=log, cwd=self.folder, start_new_session=True, **_identity()
            )
        for _ in range(600):
            ready = [self.where / "pg_isready", "-h", self.folder, "-U", OWNER]
            if subprocess.run(ready, stdout=subprocess.DEVNULL, check=False).returncode == 0:
                return
            time.sleep(0.05)
        raise AssertionError("PostgreSQL did not start")

    def kill(self) -> None:
        """End all of its processes at once, as a power cut would."""
        assert self.process is not None
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            self.process.wait()

    def address(self, schema: str) -> str:
        return f"postgresql://{OWNER}@/postgres?host={self.folder}&schema={schema}"


OPEN = 20  # connections that tests may have left
_left: deque[SqlEngine] = deque()


def in_postgresql(grains: Grains, changes: Sequence[Change] = ()) -> SqlEngine:
    """An engine in tables of its own, with these changes. Skips the test where there is no PostgreSQL."""
    return _filled(PostgreSql(shared_server().address(f"s{secrets.token_hex(8)}")), grains, changes)


def in_clickhouse(grains: Grains, changes: Sequence[Change] = ()) -> SqlEngine:
    """The same in the engine of ClickHouse."""
    return _filled(ClickHouse(Chdb(chdb_address(f"s{secrets.token_hex(8)}"))), grains, changes)


def _filled(dialect: Dialect, grains: Grains, changes: Sequence[Change]) -> SqlEngine:
    engine = SqlEngine(dialect, grains)
    engine.library = "tests"
    engine.apply(changes)
    _left.append(engine)
    while len(_left) > OPEN:
        _left.popleft().close()
    return engine


def chdb_address(database: str) -> str:
    """Of a database of its own. A process opens one folder, so all tests of a process are in the same."""
    pytest.importorskip("chdb", reason="needs hashgrain[clickhouse]")
    return f"chdb://{_chdb_folder()}?database={database}"


@cache
def _chdb_folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="hashgrain-chdb-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


@cache
def shared_server() -> Server:
    """One for all tests of a process."""
    pytest.importorskip("psycopg", reason="needs hashgrain[postgresql]")
    if programs() is None:
        pytest.skip("needs the programs of a PostgreSQL server")
    stack = ExitStack()
    atexit.register(stack.close)
    return stack.enter_context(postgresql())


@contextmanager
def postgresql() -> Iterator[Server]:
    """A server of its own."""
    folder = Path(tempfile.mkdtemp(prefix="hashgrain-postgresql-"))
    folder.chmod(0o755)  # the server is another user's
    server = Server(folder / "server")
    server.make()
    server.start()
    try:
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)
