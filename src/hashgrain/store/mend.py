"""Repairing a catalogue: lost commits from the redo log, damaged codes from the segments."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hashgrain import inside
from hashgrain.errors import LibraryDamagedError
from hashgrain.store import catalogue, page_checksums, parts, redo
from hashgrain.store.blocks import read_blocks
from hashgrain.store.catalogue import Connection, LibraryFacts
from hashgrain.store.counters import read_counters
from hashgrain.store.errors import FROM_BACKUP, MendableError
from hashgrain.store.items import COLUMNS, item_of
from hashgrain.store.segments import bad_blocks, group_blocks, map_segment
from hashgrain.store.spaces import MAX_ITEM, MAX_PARTS, PARTS, WHOLE, Space, ids_of
from hashgrain.store.writer import Transaction


@dataclass(frozen=True)
class MendReport:
    """What a rebuild mended, and what it could not mend."""

    changes: int = 0  # commits that were made again
    codes: int = 0
    lost: int = 0  # changes that neither log has
    parts: int = 0  # items whose parts were mended
    lost_parts: int = 0  # items whose parts could not be mended, and were dropped


def drop_damaged_log(library: Path) -> None:
    """Remove SQLite's log if it lost commits and the catalogue is sound without it.

    A damaged log that was partly folded in reverts some pages and not others. The catalogue that the last complete
    fold left is consistent, and the redo log has every commit since. Only for the writer, before it opens.
    """
    connection = catalogue.connect(library)
    try:
        facts = catalogue.library_facts(connection, library)
        commit = read_counters(connection, library).commit
    finally:
        connection.close()
    acknowledged = redo.acknowledged(library, facts.owner)
    if acknowledged is None or acknowledged <= commit or page_checksums.differs(library):
        return
    for name in (catalogue.NAME + "-wal", catalogue.NAME + "-shm"):
        with suppress(FileNotFoundError):
            inside.remove(library, name)


def restore(change: Transaction, library: Path, facts: LibraryFacts) -> MendReport:
    """Repeat lost commits and restore damaged codes from the segments, within the transaction."""
    connection, before = change.connection, change.before
    acknowledged = redo.acknowledged(library, facts.owner)
    missing = 0 if acknowledged is None else max(0, acknowledged - before.commit)
    restored_to, n_words = before.commit, facts.grains.n_words
    if missing:
        connection.execute("PRAGMA defer_foreign_keys = ON")  # an item is deleted and inserted again, its code stays
        restored_to = redo.restore(connection, library, facts.owner, before.commit)
    lost = 0 if acknowledged is None else max(0, acknowledged - restored_to)
    change.before = replace(before, commit=before.commit + missing)
    _check_catalogue(connection, library)
    codes = _mend_codes(connection, library, n_words)
    return MendReport(missing - lost, codes, lost, *_mend_parts(connection, library, n_words))


def _check_catalogue(connection: Connection, library: Path) -> None:
    """Raise if something is damaged that cannot be mended here: new checksums must not make it look sound."""
    for row in connection.each(f"SELECT {COLUMNS}, seal FROM items"):
        item_of(row, library)
    connection.execute("REINDEX")
    for (finding,) in connection.execute("PRAGMA integrity_check(1)"):
        if finding != "ok":
            raise LibraryDamagedError(
                f"{library}: the catalogue is damaged ({finding})", remedy=FROM_BACKUP, path=library
            )


def _mend_codes(connection: Connection, library: Path, n_words: int) -> int:
    """Replace damaged codes by those of sound segments; returns how many."""
    entries = connection.each("SELECT row, item, code, seal FROM rows")
    damaged = {row: item for row, item, *rest in entries if not catalogue.is_sound(n_words, item, *rest)}
    mended = 0
    for row, code in _from_segments(connection, library, n_words, WHOLE, damaged):
        checksum = catalogue.code_checksum(damaged[row], code)
        connection.execute("UPDATE rows SET code = ?, seal = ? WHERE row = ?", (code, checksum, row))
        mended += 1
    return mended


def _mend_parts(connection: Connection, library: Path, n_words: int) -> tuple[int, int]:
    """Restore damaged parts from sound segments, and drop those that cannot be restored; returns how many items had
    either. Parts can be made again from the file, and the item itself stays."""
    damaged: dict[int, int] = {}
    positions: dict[int, object] = {}
    for row, item, rows, code, position_bytes, checksum in connection.each(
        "SELECT row, item, rows, code, positions, seal FROM parts"
    ):
        if not parts.is_sound(n_words, item, rows, code, position_bytes, checksum):
            damaged[row], positions[row] = item, position_bytes
    mended_rows = set()
    for row, code in _from_segments(connection, library, n_words, PARTS, damaged):
        item, length, position_bytes = damaged[row], len(code) // (8 * n_words), positions[row]
        if parts.sound_positions(item, length, position_bytes):
            checksum = parts.parts_checksum(
                item, length, code, position_bytes if isinstance(position_bytes, bytes) else None
            )
            values = (length, code, checksum, row)
            connection.execute("UPDATE parts SET rows = ?, code = ?, seal = ? WHERE row = ?", values)
            mended_rows.add(row)
    lost_rows = [(row,) for row in damaged if row not in mended_rows]
    connection.executemany("DELETE FROM parts WHERE row = ?", lost_rows)
    return len(mended_rows), len(lost_rows)


def _from_segments(
    connection: Connection, library: Path, n_words: int, space: Space, entries: Mapping[int, int]
) -> Iterator[tuple[int, bytes]]:
    """The codes of these entries (first row to item), as far as sound blocks of the segments have them."""
    blocks = read_blocks(connection, library, space, n_words) if entries else []
    for info, segment_blocks in group_blocks(blocks, space, n_words):
        all_items = {row - info.first_row: item for row, item in entries.items() if isinstance(item, int)}
        items_here = {offset: item for offset, item in all_items.items() if 0 <= offset < info.rows}
        if not items_here:
            continue
        with suppress(MendableError, OSError):
            mapped = map_segment(library, info)
            sound = np.zeros(info.rows, np.bool_)
            for block in segment_blocks:
                first = block.first_row - info.first_row
                sound[first : first + block.rows] = not list(bad_blocks(library, mapped, [block]))
            ids, planes = mapped.arrays()
            for offset, item in items_here.items():
                end = offset + _length(space, item, ids[offset : offset + MAX_PARTS])
                if end > offset and sound[offset:end].all():
                    yield (
                        offset + info.first_row,
                        np.stack([plane[offset:end] for plane in planes], axis=1).astype("<u8").tobytes(),
                    )


def _length(space: Space, item: int, ids: NDArray[np.int64]) -> int:
    """How many of these rows, from the first, are the item's."""
    if space is WHOLE:
        return int(ids[0] == item)
    if not 0 < item <= MAX_ITEM:
        return 0
    expected = np.array(ids_of(space, item, len(ids)), np.int64)
    return int(np.argmin(np.append(ids == expected, False)))
