"""The lists of blocks: which rows of each segment are committed, and the checksums of their bytes."""

from __future__ import annotations

import sqlite3
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from hashgrain.store.catalogue import NAME, Connection
from hashgrain.store.errors import MendableError
from hashgrain.store.spaces import Space


@dataclass(frozen=True)
class Block:
    """A run of committed rows of one segment with the checksums of its bytes: the words' in order, then the ids'."""

    segment: int
    first_row: int
    rows: int
    crcs: tuple[int, ...]

    @property
    def end(self) -> int:
        return self.first_row + self.rows


def read_blocks(connection: Connection, library: Path, space: Space, n_words: int, since: int = 0) -> list[Block]:
    """The committed blocks of all segments of a space from number `since` on, in order."""
    columns = f"segment, first_row, rows, crcs FROM {space.blocks}"
    entries = connection.all(f"SELECT {columns} WHERE segment >= ? ORDER BY segment, first_row", (since,))
    for *numbers, crcs in entries:
        readable = isinstance(crcs, bytes) and len(crcs) == 4 * (n_words + 1)
        if not readable or any(not isinstance(number, int) or number < 0 for number in numbers):
            raise MendableError(library, library / NAME, "the list of blocks is damaged")
    packed = struct.Struct(f"<{n_words + 1}I")
    return [Block(segment, first_row, rows, packed.unpack(crcs)) for segment, first_row, rows, crcs in entries]


def write_blocks(connection: sqlite3.Connection, space: Space, new: Iterable[Block]) -> None:
    connection.executemany(
        f"INSERT OR REPLACE INTO {space.blocks} VALUES (?, ?, ?, ?)",
        [(each.segment, each.first_row, each.rows, struct.pack(f"<{len(each.crcs)}I", *each.crcs)) for each in new],
    )
