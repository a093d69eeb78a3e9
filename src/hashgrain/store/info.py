"""Counts and facts of a library."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hashgrain import inside
from hashgrain.errors import LibraryDamagedError
from hashgrain.store import catalogue, segments
from hashgrain.store.catalogue import Connection, LibraryFacts
from hashgrain.store.counters import read_counters
from hashgrain.store.errors import FROM_BACKUP


def info(connection: Connection, library: Path, facts: LibraryFacts) -> dict[str, Any]:
    """Items, rows, bytes, and the settings of the library."""
    counters = read_counters(connection, library)
    (items,) = connection.execute("SELECT count(*) FROM items").fetchone()
    (count,) = connection.execute("SELECT count(DISTINCT segment) FROM blocks").fetchone()
    if items != counters.whole.rows - counters.whole.dead:
        raise LibraryDamagedError(
            f"{library}: the catalogue is damaged ({items} items)", remedy=FROM_BACKUP, path=library
        )
    names = [name for name in inside.names(library) if name.startswith(catalogue.NAME)]
    size = sum(inside.size(library, name) for name in names)
    files = inside.names(library, segments.FOLDER)
    return {
        "items": items,
        "rows": counters.whole.rows,
        "dead_rows": counters.whole.dead,
        "segments": count,
        **_parts(connection),
        "bytes_on_disk": size + sum(inside.size(library, segments.FOLDER, name) for name in files),
        "format": connection.version,
        "digest": facts.digest,
        "grains": dict(facts.grains),
        "created": facts.created,
    }


def _parts(connection: Connection) -> dict[str, int]:
    """Live parts, items that have parts, and dead rows of parts."""
    items, parts = connection.execute("SELECT count(*), coalesce(sum(rows), 0) FROM parts").fetchone()
    (dead,) = connection.execute("SELECT coalesce(sum(rows), 0) FROM part_dead").fetchone()
    return {"parts": parts, "items_with_parts": items, "dead_part_rows": dead}
