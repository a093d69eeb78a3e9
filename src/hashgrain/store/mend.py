"""Making good what a catalogue lost: commits from the redo log, codes from the segments."""

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
from hashgrain.store.catalogue import Connection, Facts
from hashgrain.store.counters import read_counters
from hashgrain.store.errors import FROM_BACKUP, MendableError
from hashgrain.store.items import COLUMNS, item_of
from hashgrain.store.segments import bad_blocks, map_segment, places
from hashgrain.store.spaces import MAX_ITEM, MAX_PARTS, PARTS, WHOLE, Space, ids_of
from hashgrain.store.writer import Transaction


@dataclass(frozen=True)
class Mended:
    """What a rebuild made good: changes, and codes of items; and what it could not."""

    changes: int = 0
    codes: int = 0
    lost: int = 0  # changes that neither log has any more
    parts: int = 0  # items whose parts were mended
    lost_parts: int = 0  # items whose parts could not be mended, and were dropped


def drop_damaged_log(library: Path) -> None:
    """Set SQLite's log aside where it lost commits and the catalogue is sound without it.

    A damaged log that was partly folded in takes some pages back and not others. The catalogue as the last complete
    fold left it is of one moment, and the redo log holds every commit since. Held by the one writer, before it opens.
    """
    connection = catalogue.connect(library)
    try:
        facts = catalogue.facts(connection, library)
        commit = read_counters(connection, library).commit
    finally:
        connection.close()
    acknowledged = redo.acknowledged(library, facts.owner)
    if acknowledged is None or acknowledged <= commit or page_checksums.unlike(library):
        return
    for name in (catalogue.NAME + "-wal", catalogue.NAME + "-shm"):
        with suppress(FileNotFoundError):
            inside.remove(library, name)


def restore(change: Transaction, library: Path, facts: Facts) -> Mended:
    """Make lost commits again and take damaged codes from the segments, within the transaction."""
    connection, before = change.connection, change.before
    acknowledged = redo.acknowledged(library, facts.owner)
    behind = 0 if acknowledged is None else max(0, acknowledged - before.commit)
    reached, n_words = before.commit, facts.grains.n_words
    if behind:
        connection.execute("PRAGMA defer_foreign_keys = ON")  # an item is dropped and put again, its code stays
        reached = redo.restore(connection, library, facts.owner, before.commit)
    lost = 0 if acknowledged is None else max(0, acknowledged - reached)
    change.before = replace(before, commit=before.commit + behind)
    _check_catalogue(connection, library)
    codes = _mend_codes(connection, library, n_words)
    return Mended(behind - lost, codes, lost, *_mend_parts(connection, library, n_words))


def _check_catalogue(connection: Connection, library: Path) -> None:
    """Raise where something is damaged that nothing here can mend: new sums must not make it look sound."""
    for row in connection.each(f"SELECT {COLUMNS}, seal FROM items"):
        item_of(row, library)
    connection.execute("REINDEX")
    for (finding,) in connection.execute("PRAGMA integrity_check(1)"):
        if finding != "ok":
            raise LibraryDamagedError(
                f"{library}: the catalogue is damaged ({finding})", remedy=FROM_BACKUP, path=library
            )


def _mend_codes(connection: Connection, library: Path, n_words: int) -> int:
    """How many damaged codes were replaced by those of sound segments."""
    entries = connection.each("SELECT row, item, code, seal FROM rows")
    damaged = {row: item for row, item, *rest in entries if not catalogue.is_sound(n_words, item, *rest)}
    mended = 0
    for row, code in _from_segments(connection, library, n_words, WHOLE, damaged):
        seal = catalogue.code_seal(damaged[row], code)
        connection.execute("UPDATE rows SET code = ?, seal = ? WHERE row = ?", (code, seal, row))
        mended += 1
    return mended


def _mend_parts(connection: Connection, library: Path, n_words: int) -> tuple[int, int]:
    """Of how many items damaged parts were mended from sound segments, and of how many they had to be dropped: parts
    can be made again from the file, and the item itself stays."""
    damaged: dict[int, int] = {}
    positions: dict[int, object] = {}
    for row, item, rows, code, where, seal in connection.each(
        "SELECT row, item, rows, code, positions, seal FROM parts"
    ):
        if not parts.is_sound(n_words, item, rows, code, where, seal):
            damaged[row], positions[row] = item, where
    mended = set()
    for row, code in _from_segments(connection, library, n_words, PARTS, damaged):
        item, length, where = damaged[row], len(code) // (8 * n_words), positions[row]
        if parts.sound_positions(item, length, where):
            seal = parts.seal(item, length, code, where if isinstance(where, bytes) else None)
            values = (length, code, seal, row)
            connection.execute("UPDATE parts SET rows = ?, code = ?, seal = ? WHERE row = ?", values)
            mended.add(row)
    lost = [(row,) for row in damaged if row not in mended]
    connection.executemany("DELETE FROM parts WHERE row = ?", lost)
    return len(mended), len(lost)


def _from_segments(
    connection: Connection, library: Path, n_words: int, space: Space, wanted: Mapping[int, int]
) -> Iterator[tuple[int, bytes]]:
    """The codes of these entries (first row to item) that sound blocks of the segments have."""
    blocks = read_blocks(connection, library, space, n_words) if wanted else []
    for place, members in places(blocks, space, n_words):
        here = {row - place.first_row: item for row, item in wanted.items()}
        here = {at: item for at, item in here.items() if isinstance(item, int) and 0 <= at < place.rows}
        if not here:
            continue
        with suppress(MendableError, OSError):
            mapped = map_segment(library, place)
            sound = np.zeros(place.rows, np.bool_)
            for block in members:
                first = block.first_row - place.first_row
                sound[first : first + block.rows] = not list(bad_blocks(library, mapped, [block]))
            ids, planes = mapped.arrays()
            for at, item in here.items():
                end = at + _length(space, item, ids[at : at + MAX_PARTS])
                if end > at and sound[at:end].all():
                    yield (
                        at + place.first_row,
                        np.stack([plane[at:end] for plane in planes], axis=1).astype("<u8").tobytes(),
                    )


def _length(space: Space, item: int, ids: NDArray[np.int64]) -> int:
    """How many of these rows are the item's; 0 where the first one is not."""
    if space is WHOLE:
        return int(ids[0] == item)
    if not 0 < item <= MAX_ITEM:
        return 0
    right = np.array(ids_of(space, item, len(ids)), np.int64)
    return int(np.argmin(np.append(ids == right, False)))
