"""The counters of a catalogue: its generation, the rows of each space, and the last numbers that were assigned."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from hashgrain.errors import LibraryDamagedError
from hashgrain.store.catalogue import raw_facts
from hashgrain.store.errors import FROM_BACKUP
from hashgrain.store.spaces import SPACES, WHOLE, Space


class Extent(NamedTuple):
    """The size of one row space. Rows and dead entries only grow within a generation."""

    rows: int = 0
    dead: int = 0  # entries, each of which is one row of whole codes, or a run of parts
    segment: int = 0  # the last segment number that was assigned; numbers are never used twice


NOTHING = Extent()


@dataclass(frozen=True)
class Counters:
    """The state of the catalogue; `rebuild` begins a new generation."""

    generation: int
    whole: Extent = NOTHING
    parts: Extent = NOTHING
    commit: int = 0  # how many changes were committed; `redo` keeps the same number outside the catalogue
    sequence: int = 0  # the number of the last entry of the log of changes

    def extent_of(self, space: Space) -> Extent:
        return self.whole if space is WHOLE else self.parts

    def with_extent(self, space: Space, extent: Extent) -> Counters:
        """A copy with another extent of one space."""
        return replace(self, whole=extent) if space is WHOLE else replace(self, parts=extent)

    def as_facts(self) -> dict[str, int]:
        """The counters by the keys of the table of facts."""
        values = {"era": self.generation, "commit": self.commit, "sequence": self.sequence}
        for space in SPACES:
            values |= {space.counter + key: value for key, value in self.extent_of(space)._asdict().items()}
        return values


def read_counters(connection: sqlite3.Connection, library: Path) -> Counters:
    facts = raw_facts(connection)
    facts.setdefault("commit", 0)  # format 2 has none
    if "sequence" not in facts:  # before format 4
        (facts["sequence"],) = connection.execute("SELECT coalesce(max(row) + 1, 0) FROM rows").fetchone()
        facts |= {"part_rows": 0, "part_dead": 0, "part_segment": 0}
    values = [facts.get(key) for key in Counters(0).as_facts()]
    if any(not isinstance(value, int) or value < 0 for value in values):
        raise LibraryDamagedError(
            f"{library}: the catalogue is damaged (counters: {values})", remedy=FROM_BACKUP, path=library
        )
    whole, parts = (Extent(*(facts[space.counter + key] for key in Extent._fields)) for space in SPACES)
    return Counters(facts["era"], whole, parts, facts["commit"], facts["sequence"])


def write_counters(connection: sqlite3.Connection, new: Counters, old: Counters) -> None:
    """Write the counters that changed."""
    before = old.as_facts()
    values = [(value, key) for key, value in new.as_facts().items() if value != before[key]]
    connection.executemany("UPDATE facts SET value = ? WHERE key = ?", values)
