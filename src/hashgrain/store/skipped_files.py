"""Files that `add` skips: those that could not be read (refusals), and those removed by hand (exclusions)."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from hashgrain.errors import LibraryDamagedError, LibraryError
from hashgrain.store.errors import FROM_BACKUP
from hashgrain.store.items import encode_path
from hashgrain.store.redo import STATEMENTS, Step

Stamp = tuple[int, int]
Refusal = tuple[str, Stamp, str]  # path, (size, mtime in ns), reason
MAX_REASON = 1000


def refusals(rows: Iterable[tuple[Any, ...]], library: Path) -> list[Refusal]:
    entries = []
    for path, size, mtime_ns, reason in rows:
        if not (isinstance(size, int) and isinstance(mtime_ns, int) and isinstance(reason, str)):
            raise _damaged_error(library, "refusals")
        entries.append((_path(path, library, "refusals"), (size, mtime_ns), reason))
    return entries


def exclusions(rows: Iterable[tuple[Any, ...]], library: Path) -> list[str]:
    return [_path(path, library, "exclusions") for (path,) in rows]


def _path(path: object, library: Path, table: str) -> str:
    if not isinstance(path, bytes) or b"\0" in path:
        raise _damaged_error(library, table)
    return os.fsdecode(path)


def _damaged_error(library: Path, table: str) -> LibraryError:
    return LibraryDamagedError(
        f"{library}: the catalogue is damaged (its {table} do not read)", remedy=FROM_BACKUP, path=library
    )


def refuse(entries: Iterable[Refusal]) -> list[Step]:
    rows = [(encode_path(path), int(size), int(mtime), reason[:MAX_REASON]) for path, (size, mtime), reason in entries]
    return [("put refusal", rows)]


def forget_refusals(paths: Iterable[str]) -> list[Step]:
    return [("drop refusal", [(encode_path(path),) for path in paths])]


def exclude(paths: Iterable[str]) -> list[Step]:
    return [("put exclusion", [(encode_path(path),) for path in paths])]


def include(paths: Iterable[str]) -> list[Step]:
    return [("drop exclusion", [(encode_path(path),) for path in paths])]


def apply(connection: sqlite3.Connection, steps: Iterable[Step]) -> None:
    for name, rows in steps:
        connection.executemany(STATEMENTS[name], rows)
