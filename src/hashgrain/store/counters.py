"""How far a catalogue reaches: its generation, the rows of each space, and the numbers given out last."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from hashgrain.errors import LibraryDamagedError
from hashgrain.store.catalogue import read_facts
from hashgrain.store.errors import FROM_BACKUP
from hashgrain.store.spaces import SPACES, WHOLE, Space


class Extent(NamedTuple):
    """How far one row space reaches. Rows and dead entries only grow within an era."""

    rows: int = 0
    dead: int = 0  # entries, each of which is one row of whole codes, or a run of parts
    segment: int = 0  # the last segment number given out; numbers are never used twice


NOTHING = Extent()


@dataclass(frozen=True)
class Counters:
    """Where the catalogue stands; `rebuild` begins a new era."""

    era: int
    whole: Extent = NOTHING
    parts: Extent = NOTHING
    commit: int = 0  # how many changes were committed; `redo` keeps the same number outside the catalogue
    sequence: int = 0  # the number of the last entry of the log of changes

    def of(self, space: Space) -> Extent:
        return self.whole if space is WHOLE else self.parts

    def grown(self, space: Space, extent: Extent) -> Counters:
        """The same with another extent of one space."""
        return replace(self, whole=extent) if space is WHOLE else replace(self, parts=extent)

    def facts(self) -> dict[str, int]:
        """As the catalogue keeps them."""
        values = {"era": self.era, "commit": self.commit, "sequence": self.sequence}
        for space in SPACES:
            values |= {space.counter + key: value for key, value in self.of(space)._asdict().items()}
        return values


def read_counters(connection: sqlite3.Connection, library: Path) -> Counters:
    found = read_facts(connection)
    found.setdefault("commit", 0)  # format 2 has none
    if "sequence" not in found:  # before format 4
        (found["sequence"],) = connection.execute("SELECT coalesce(max(row) + 1, 0) FROM rows").fetchone()
        found |= {"part_rows": 0, "part_dead": 0, "part_segment": 0}
    values = [found.get(key) for key in Counters(0).facts()]
    if any(not isinstance(value, int) or value < 0 for value in values):
        raise LibraryDamagedError(
            f"{library}: the catalogue is damaged (counters: {values})", remedy=FROM_BACKUP, path=library
        )
    whole, parts = (Extent(*(found[space.counter + key] for key in Extent._fields)) for space in SPACES)
    return Counters(found["era"], whole, parts, found["commit"], found["sequence"])


def write_counters(connection: sqlite3.Connection, new: Counters, old: Counters) -> None:
    """Those that changed."""
    before = old.facts()
    values = [(value, key) for key, value in new.facts().items() if value != before[key]]
    connection.executemany("UPDATE facts SET value = ? WHERE key = ?", values)
