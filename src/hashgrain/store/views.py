"""The segments of one row space as they are at one moment, kept from one snapshot to the next."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hashgrain.store import catalogue
from hashgrain.store.blocks import Block, read_blocks
from hashgrain.store.catalogue import Connection
from hashgrain.store.counters import Counters, Extent
from hashgrain.store.errors import MendableError
from hashgrain.store.segments import Place, Segment, bad_blocks, map_segment, places
from hashgrain.store.spaces import MAX_ITEM, MAX_PARTS, PARTS, Space, expanded


@dataclass(frozen=True, eq=False)
class View:
    """The segments of one moment, grown by what is new."""

    era: int
    extent: Extent
    places: tuple[Place, ...] = ()
    segments: tuple[Segment, ...] = ()
    identity: tuple[int, int] = (0, 0)  # of the catalogue's file: a library put in its place shares nothing with it

    @property
    def moment(self) -> tuple[int, Extent]:
        return self.era, self.extent


def view_of(
    connection: Connection, library: Path, n_words: int, space: Space, counters: Counters, old: View | None
) -> View:
    """The view at the moment of the read transaction; what `old` has checked is not checked again."""
    era, extent = counters.era, counters.of(space)
    if old is not None and (old.identity != connection.identity or any(segment.cut() for segment in old.segments)):
        old = None  # to be mapped again; of a file that was cut short this says what is wrong
    if old is not None and old.moment == (era, extent):
        return old
    if old is None or old.era != era or old.extent.rows > extent.rows or old.extent.dead > extent.dead:
        old = View(era, Extent())
    since = old.places[-1].number if old.places else 0
    committed = dict(zip(old.places[:-1], old.segments[:-1], strict=True))
    for place, blocks in places(read_blocks(connection, library, space, n_words, since), space, n_words):
        known = old.segments[-1] if old.places and place.number == since else None
        committed[place] = _grown(library, place, blocks, known)
    _check_rows(library, list(committed), extent)
    alive = _bury(connection, library, space, committed, old.extent, extent)
    return View(era, extent, tuple(committed), tuple(alive), connection.identity)


def _grown(library: Path, place: Place, blocks: Sequence[Block], known: Segment | None) -> Segment:
    checked = 0 if known is None else len(known.ids)
    if known is not None and checked == place.rows:
        return known
    mapped = map_segment(library, place)
    for damage in bad_blocks(library, mapped, [b for b in blocks if b.end > place.first_row + checked]):
        raise damage
    ids, planes = mapped.arrays()
    alive = np.ones(place.rows, np.bool_)
    if known is not None:
        alive[:checked] = known.alive
    alive.flags.writeable = False
    return Segment(place.first_row, ids, planes, alive, mapped.files)


def _check_rows(library: Path, committed: Sequence[Place], extent: Extent) -> None:
    """The blocks must tile all rows: one that SQLite lost without noticing must not shorten the answers."""
    expected = 0
    for place in committed:
        if place.first_row != expected:
            break
        expected += place.rows
    if expected != extent.rows:
        reason = f"the list of blocks is damaged ({expected} of {extent.rows} rows)"
        raise MendableError(library, library / catalogue.NAME, reason)


def _bury(
    connection: Connection, library: Path, space: Space, committed: Mapping[Place, Segment], seen: Extent, now: Extent
) -> Iterator[Segment]:
    """The segments with the rows that died since out of `alive`; arrays handed out stay as they are."""
    query = f"SELECT row, item, {space.length} FROM {space.dead} WHERE number > ? ORDER BY row"
    found = connection.all(query, (seen.dead,))
    damage = MendableError(library, library / catalogue.NAME, "the list of removed rows is damaged")
    if any(not isinstance(number, int) or not 0 <= number < 2**63 for entry in found for number in entry):
        raise damage
    entries = np.array(found, np.int64).reshape(-1, 3)
    if ((entries[:, 2] != 1) & ((entries[:, 2] > MAX_PARTS) | (entries[:, 1] > MAX_ITEM))).any():
        raise damage
    if entries[:, 2].sum() > now.rows or len(found) != now.dead - seen.dead:
        raise damage
    rows, ids = expanded(space, *entries.T)
    if (np.diff(rows) <= 0).any():  # entries overlap
        raise damage
    buried = 0
    for place, segment in committed.items():
        first, end = np.searchsorted(rows, [place.first_row, place.first_row + place.rows])
        if first == end:
            yield segment
            continue
        at = rows[first:end] - place.first_row
        if not np.array_equal(segment.ids[at], ids[first:end]):
            break
        if space is PARTS and _cut_runs(segment, at):
            break
        buried += int(end - first)
        yield segment.without(at)
    if buried != len(rows):
        raise damage


def _cut_runs(segment: Segment, dead: NDArray[np.int64]) -> bool:
    """Whether a run goes on behind rows of it that died: its parts all live, or none."""
    after = dead + 1
    after = after[(after < len(segment.ids)) & (np.append(dead[1:], -1) != after)]
    return bool((segment.ids[after] & MAX_PARTS != 1).any())
