"""The redo log: the commits since SQLite's own log was last folded into the catalogue, and their count.

SQLite ends its write-ahead log silently at the first frame that does not match its checksum: one flipped bit reverts
every later commit. So LIBRARY/redo.log counts the commits outside the catalogue and keeps their content. A catalogue
with a lower count has lost commits, and `restore` repeats them from here.

The header has two slots, which are written in turn, so that a torn write spoils at most one. Each holds the number of
the last acknowledged commit. The records follow, one per commit: number, length, CRC-32, and statements as JSON. A
record is written before its commit. It counts once a slot has its number, which is after the commit. So an acknowledged
commit is in the catalogue and here, and one that is only here was never acknowledged.
"""

from __future__ import annotations

import json
import os
import sqlite3
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hashgrain import inside
from hashgrain.store import disk
from hashgrain.store.items import COLUMNS

NAME = "redo.log"
MAGIC = b"HGredo1\n"
SLOT = struct.Struct("<QII")  # number, owner, CRC-32
SLOTS = (16, 40)
HEADER = 64
RECORD = struct.Struct("<QII")  # number, length, CRC-32 of number, owner and content
MAX_BYTES = 64 << 20  # of one record; a commit is some kilobytes
Step = tuple[str, list[Any]]
# All statements there are: a log from a stranger can change rows of a library, and nothing else.
MARKS = ", ".join("?" * 14)
STATEMENTS = {
    "drop item": "DELETE FROM items WHERE id = ?",
    "put item": f"INSERT INTO items ({COLUMNS}, seal) VALUES ({MARKS})",
    "drop code": "DELETE FROM rows WHERE item = ?",
    "put code": "INSERT INTO rows SELECT coalesce(max(row), -1) + 1, ?, ?, ? FROM rows",
    "drop parts": "DELETE FROM parts WHERE item = ?",
    "put parts": "INSERT INTO parts SELECT coalesce(max(row + rows), 0), ?, ?, ?, ?, ? FROM parts",
    "drop grid": "DELETE FROM facts WHERE key = 'grid'",
    "put grid": "INSERT OR REPLACE INTO facts VALUES ('grid', ?)",
    "put seal": "UPDATE facts SET value = ? WHERE key = 'seal'",
    "put refusal": "INSERT OR REPLACE INTO refusals VALUES (?, ?, ?, ?)",
    "drop refusal": "DELETE FROM refusals WHERE path = ?",
    "put exclusion": "INSERT OR REPLACE INTO exclusions VALUES (?)",
    "drop exclusion": "DELETE FROM exclusions WHERE path = ?",
}


@dataclass(frozen=True)
class Record:
    number: int
    steps: list[Step]
    end: int  # where the next one begins


class RedoLog:
    """The writer's end of the log."""

    def __init__(self, library: Path, owner: int) -> None:
        self.library, self.owner = library, owner
        self._file = inside.open_file(library, NAME, flags=os.O_RDWR | os.O_CREAT)
        slots = _slots(_read(library), owner)
        self._slot = max(slots, key=lambda slot: slots[slot], default=0)
        self.end = HEADER  # of the records; later bytes were rolled back
        if not slots:
            disk.write_at(self._file, MAGIC.ljust(HEADER, b"\0"), 0)
            os.ftruncate(self._file, HEADER)
        for record in records(library, owner):
            self.end = record.end

    def close(self) -> None:
        os.close(self._file)

    def write(self, number: int, steps: list[Step]) -> bool:
        """Write a record before its commit; returns whether it fits. `acknowledge` flushes it."""
        content = _encode(steps)
        if len(content) > MAX_BYTES:
            return False
        head = RECORD.pack(number, len(content), _checksum(number, self.owner, content))
        disk.write_at(self._file, head + content, self.end)
        self.end += len(head) + len(content)
        return True

    def acknowledge(self, number: int) -> None:
        """Record, after the commit and before it is reported, that it is made."""
        slot = struct.pack("<QI", number, self.owner)
        self._slot = 1 - self._slot
        disk.write_at(self._file, slot + struct.pack("<I", zlib.crc32(slot)), SLOTS[self._slot])
        disk.sync(self._file)

    def forget(self) -> None:
        """Clear the count of commits, for a format whose catalogue has none."""
        disk.write_at(self._file, bytes(HEADER - SLOTS[0]), SLOTS[0])
        os.ftruncate(self._file, HEADER)
        disk.sync(self._file)
        self.end = HEADER

    def empty(self) -> None:
        """Drop the records, once all of them are in the catalogue itself."""
        os.ftruncate(self._file, HEADER)
        self.end = HEADER


def acknowledged(library: Path, owner: int) -> int | None:
    """The number of the last acknowledged commit; None if there is no log of this library."""
    return max(_slots(_read(library, HEADER), owner).values(), default=None)


def _slots(head: bytes, owner: int) -> dict[int, int]:
    """The number in each sound slot."""
    if not head.startswith(MAGIC) or len(head) < HEADER:
        return {}
    numbers = {}
    for slot, offset in enumerate(SLOTS):
        number, slot_owner, checksum = SLOT.unpack_from(head, offset)
        if checksum == zlib.crc32(head[offset : offset + 12]) and slot_owner == owner:
            numbers[slot] = number
    return numbers


def records(library: Path, owner: int) -> Iterator[Record]:
    """The records in order, up to the first damaged one."""
    content = _read(library)
    offset, last = HEADER, None
    while offset + RECORD.size <= len(content):
        number, length, checksum = RECORD.unpack_from(content, offset)
        offset += RECORD.size
        body = content[offset : offset + length]
        follows = last is None or number == last + 1
        if length > MAX_BYTES or len(body) < length or not follows or _checksum(number, owner, body) != checksum:
            return
        steps = _decode(body)
        if steps is None:
            return
        offset, last = offset + length, number
        yield Record(number, steps, offset)


def restore(connection: sqlite3.Connection, library: Path, owner: int, commit: int) -> int:
    """Repeat the commits that a catalogue at number `commit` may have lost; returns the number reached.

    All records are repeated, within the caller's transaction: each is idempotent, and a catalogue that lost a part of
    SQLite's log may have lost a part of any of them.
    """
    for record in records(library, owner):
        if record.number > commit + 1:
            return commit
        for name, rows in record.steps:
            connection.executemany(STATEMENTS[name], rows)
        commit = max(commit, record.number)
    return commit


def _read(library: Path, size: int = -1) -> bytes:
    try:
        with open(inside.open_file(library, NAME), "rb") as file:
            return file.read(size)
    except FileNotFoundError:
        return b""


def _checksum(number: int, owner: int, content: bytes) -> int:
    return zlib.crc32(content, zlib.crc32(struct.pack("<QI", number, owner)))


def _encode(steps: Sequence[Step]) -> bytes:
    return json.dumps(steps, separators=(",", ":"), default=lambda value: {"hex": value.hex()}).encode()


def _decode(content: bytes) -> list[Step] | None:
    """The statements of a record; None if it has anything else."""
    try:
        statements = json.loads(content, object_hook=lambda value: bytes.fromhex(value["hex"]))
        steps = [(name, [tuple(row) for row in rows]) for name, rows in statements]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None
    return steps if all(name in STATEMENTS for name, _ in steps) else None
