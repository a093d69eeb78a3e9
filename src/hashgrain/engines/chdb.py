"""The engine of ClickHouse in this process, by chdb, over a folder: chdb:///folder?database=photos"""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from hashgrain.engines.clickhouse import SETTINGS, database_of, error_of, reason_in, rows_in
from hashgrain.engines.sql import Rows
from hashgrain.errors import EngineError, reason_of
from hashgrain.hamming.mapping import watch_again

FIRST = {"data", "metadata_dropped", "status", "store", "tmp"}  # what may be there before the first database
_open: list[Path] = []  # the folder of each session of this process, which is the same for all


class Chdb:
    """A session, which is opened by the first query."""

    def __init__(self, address: str) -> None:
        parts = urlsplit(address)
        path = unquote(parts.path)
        if parts.netloc or not path.strip("/"):
            raise EngineError(f"chdb://{parts.netloc}{path} names no folder; that is chdb:///folder")
        self._folder = Path(path).resolve()
        self.database = database_of(parts.query, f"chdb://{path}")
        self.where = f"chdb://{self._folder}?database={self.database}"
        self._session: Any = None
        _check(self._folder)

    def is_new(self) -> bool:
        return not self._folder.exists()

    def run(self, query: str) -> Rows:
        if self._session is None:
            self._session = _opened(self._folder, self.where)
        try:
            return rows_in(str(self._session.query(query, "JSONCompact")))
        except RuntimeError as error:
            raise error_of(self.where, str(error)) from None

    def close(self) -> None:
        if self._session is not None:
            self._session.close()
            self._session = None
            _open.remove(self._folder)


def _check(folder: Path) -> None:
    """Refuse what is there and is not chdb's."""
    try:
        from chdb import session  # noqa: F401
    except ImportError:
        message = "searching in the engine of ClickHouse takes chdb, which is not installed"
        raise EngineError(message, remedy="pip install 'hashgrain[clickhouse]'") from None
    if folder.exists() and not folder.is_dir():
        raise EngineError(f"{folder} is a file; the engine of ClickHouse takes a folder")
    try:
        others = {each.name for each in folder.iterdir()} - FIRST if folder.exists() else set()
    except OSError as error:
        raise EngineError(f"{folder} cannot be used for chdb: {reason_of(error)}") from None
    if others and not (folder / "metadata").is_dir():
        raise EngineError(f"{folder} has files that are not chdb's; name an empty folder, or a new one")


def _opened(folder: Path, where: str) -> Any:
    from chdb.session import Session

    untyped: Any = Session
    if _open and _open[0] != folder:
        raise EngineError(f"{where} cannot be opened: this process has {_open[0]} open, and chdb takes one at a time")
    if not _open and _is_open_elsewhere(folder):
        raise EngineError(f"{where} is open in another program, and chdb gives it to one at a time")
    try:
        session = untyped(str(folder))
        for name, value in SETTINGS.items():
            session.query(f"SET {name} = {value}")
    except (RuntimeError, OSError) as error:
        raise EngineError(f"{where} cannot be opened: {reason_in(str(error))}") from None
    _open.append(folder)
    watch_again()  # the engine of ClickHouse handles signals of the whole process
    return session


def _is_open_elsewhere(folder: Path) -> bool:
    """chdb finds out, too, but says so on the standard error of this process."""
    import fcntl

    try:
        with (folder / "status").open("rb") as status:
            fcntl.flock(status, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False
