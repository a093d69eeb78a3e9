"""Making good what a catalogue lost: commits from the redo log, codes from the segments."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from hashgrain import inside
from hashgrain.errors import LibraryDamagedError
from hashgrain.store import catalogue, redo, sums
from hashgrain.store.catalogue import Connection, Facts
from hashgrain.store.items import COLUMNS, item_of
from hashgrain.store.segments import bad_blocks, map_segment, places
from hashgrain.store.trouble import FROM_BACKUP, MendableError
from hashgrain.store.writer import Transaction


@dataclass(frozen=True)
class Mended:
    """What a rebuild made good: changes, and codes of items; and what it could not."""

    changes: int = 0
    codes: int = 0
    lost: int = 0  # changes that neither log has any more


def drop_damaged_log(library: Path) -> None:
    """Set SQLite's log aside where it lost commits and the catalogue is sound without it.

    A damaged log that was partly folded in takes some pages back and not others. The catalogue as the last complete
    fold left it is of one moment, and the redo log holds every commit since. Held by the one writer, before it opens.
    """
    connection = catalogue.connect(library)
    try:
        facts = catalogue.facts(connection, library)
        commit = catalogue.counters(connection, library).commit
    finally:
        connection.close()
    acknowledged = redo.acknowledged(library, facts.owner)
    if acknowledged is None or acknowledged <= commit or sums.unlike(library):
        return
    for name in (catalogue.NAME + "-wal", catalogue.NAME + "-shm"):
        with suppress(FileNotFoundError):
            inside.remove(library, name)


def restore(change: Transaction, library: Path, facts: Facts, n_words: int) -> Mended:
    """Make lost commits again and take damaged codes from the segments, within the transaction."""
    connection, before = change.connection, change.before
    acknowledged = redo.acknowledged(library, facts.owner)
    behind = 0 if acknowledged is None else max(0, acknowledged - before.commit)
    reached = before.commit
    if behind:
        connection.execute("PRAGMA defer_foreign_keys = ON")  # an item is dropped and put again, its code stays
        reached = redo.restore(connection, library, facts.owner, before.commit)
    lost = 0 if acknowledged is None else max(0, acknowledged - reached)
    change.before = replace(before, commit=before.commit + behind)
    _check_catalogue(connection, library)
    return Mended(behind - lost, _codes_from_segments(connection, library, n_words), lost)


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


def _codes_from_segments(connection: Connection, library: Path, n_words: int) -> int:
    """How many damaged codes were replaced by those of sound segments."""
    damaged = dict(_damaged(connection, n_words))
    if not damaged:
        return 0
    mended = 0
    for place, blocks in places(catalogue.blocks(connection, library, n_words), n_words):
        wanted = [row for row in damaged if place.first_row <= row < place.first_row + place.rows]
        if not wanted:
            continue
        with suppress(MendableError, OSError):
            mapped = map_segment(library, place)
            sound = [block for block in blocks if not list(bad_blocks(library, mapped, [block]))]
            ids, planes = mapped.arrays()
            for row in wanted:
                at, item = row - place.first_row, damaged[row]
                if ids[at] == item and any(block.first_row <= row < block.end for block in sound):
                    code = np.array([plane[at] for plane in planes], "<u8").tobytes()
                    seal = catalogue.code_seal(item, code)
                    connection.execute("UPDATE rows SET code = ?, seal = ? WHERE row = ?", (code, seal, row))
                    mended += 1
    return mended


def _damaged(connection: Connection, n_words: int) -> Iterator[tuple[int, int]]:
    for row, item, code, seal in connection.each("SELECT row, item, code, seal FROM rows"):
        if not catalogue.is_sound(n_words, item, code, seal):
            yield row, item
