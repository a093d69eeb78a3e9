"""What is remembered of files that are not items: those that could not be read, and those taken out by hand."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable

from hashgrain.store.items import encode_path
from hashgrain.store.redo import STATEMENTS, Step

Stamp = tuple[int, int]
Refusal = tuple[str, Stamp, str]  # path, (size, mtime in ns), reason
MAX_REASON = 1000


def refusals(rows: Iterable[tuple[bytes, int, int, str]]) -> list[Refusal]:
    return [(os.fsdecode(path), (size, mtime_ns), reason) for path, size, mtime_ns, reason in rows]


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
