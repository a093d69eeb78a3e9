"""The mapped segments of one row space at one moment, which the next snapshot reuses."""

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
from hashgrain.store.segments import Segment, SegmentInfo, bad_blocks, group_blocks, map_segment
from hashgrain.store.spaces import MAX_ITEM, MAX_PARTS, PARTS, Space, expand_entries


@dataclass(frozen=True, eq=False)
class View:
    """The mapped segments of one moment."""

    generation: int
    extent: Extent
    infos: tuple[SegmentInfo, ...] = ()
    segments: tuple[Segment, ...] = ()
    identity: tuple[int, int] = (0, 0)  # of the catalogue's file: a library that replaced it shares nothing with it

    @property
    def version(self) -> tuple[int, Extent]:
        return self.generation, self.extent


def view_of(
    connection: Connection, library: Path, n_words: int, space: Space, counters: Counters, old: View | None
) -> View:
    """The view in a read transaction. Rows that `old` has checked are not checked again."""
    generation, extent = counters.generation, counters.extent_of(space)
    if old is not None and (old.identity != connection.identity or any(segment.cut() for segment in old.segments)):
        old = None  # map everything again, which raises with the reason if a file was cut short
    if old is not None and old.version == (generation, extent):
        return old
    if old is None or old.generation != generation or old.extent.rows > extent.rows or old.extent.dead > extent.dead:
        old = View(generation, Extent())
    since = old.infos[-1].number if old.infos else 0
    committed = dict(zip(old.infos[:-1], old.segments[:-1], strict=True))
    for info, blocks in group_blocks(read_blocks(connection, library, space, n_words, since), space, n_words):
        old_segment = old.segments[-1] if old.infos and info.number == since else None
        committed[info] = _extend_segment(library, info, blocks, old_segment)
    _check_rows(library, list(committed), extent)
    alive = _mark_deleted(connection, library, space, committed, old.extent, extent)
    return View(generation, extent, tuple(committed), tuple(alive), connection.identity)


def _extend_segment(library: Path, info: SegmentInfo, blocks: Sequence[Block], old_segment: Segment | None) -> Segment:
    checked = 0 if old_segment is None else len(old_segment.ids)
    if old_segment is not None and checked == info.rows:
        return old_segment
    mapped = map_segment(library, info)
    for damage in bad_blocks(library, mapped, [b for b in blocks if b.end > info.first_row + checked]):
        raise damage
    ids, planes = mapped.arrays()
    alive = np.ones(info.rows, np.bool_)
    if old_segment is not None:
        alive[:checked] = old_segment.alive
    alive.flags.writeable = False
    return Segment(info.first_row, ids, planes, alive, mapped.files)


def _check_rows(library: Path, infos: Sequence[SegmentInfo], extent: Extent) -> None:
    """The blocks must tile all rows: a block that SQLite lost silently must not shorten answers."""
    expected = 0
    for info in infos:
        if info.first_row != expected:
            break
        expected += info.rows
    if expected != extent.rows:
        reason = f"the list of blocks is damaged ({expected} of {extent.rows} rows)"
        raise MendableError(library, library / catalogue.NAME, reason)


def _mark_deleted(
    connection: Connection,
    library: Path,
    space: Space,
    committed: Mapping[SegmentInfo, Segment],
    old: Extent,
    new: Extent,
) -> Iterator[Segment]:
    """The segments, with rows that died since `old` no longer `alive`. Arrays of earlier snapshots do not change."""
    query = f"SELECT row, item, {space.length} FROM {space.dead} WHERE number > ? ORDER BY row"
    entries_read = connection.all(query, (old.dead,))
    damage = MendableError(library, library / catalogue.NAME, "the list of removed rows is damaged")
    if any(not isinstance(number, int) or not 0 <= number < 2**63 for entry in entries_read for number in entry):
        raise damage
    entries = np.array(entries_read, np.int64).reshape(-1, 3)
    if ((entries[:, 2] != 1) & ((entries[:, 2] > MAX_PARTS) | (entries[:, 1] > MAX_ITEM))).any():
        raise damage
    if entries[:, 2].sum() > new.rows or len(entries_read) != new.dead - old.dead:
        raise damage
    rows, ids = expand_entries(space, *entries.T)
    if (np.diff(rows) <= 0).any():  # entries overlap
        raise damage
    deleted = 0
    for info, segment in committed.items():
        first, end = np.searchsorted(rows, [info.first_row, info.first_row + info.rows])
        if first == end:
            yield segment
            continue
        rows_in_segment = rows[first:end] - info.first_row
        if not np.array_equal(segment.ids[rows_in_segment], ids[first:end]):
            break
        if space is PARTS and _has_partial_runs(segment, rows_in_segment):
            break
        deleted += int(end - first)
        yield segment.without(rows_in_segment)
    if deleted != len(rows):
        raise damage


def _has_partial_runs(segment: Segment, dead: NDArray[np.int64]) -> bool:
    """Whether only some parts of an item died, which is damage: its parts are all alive, or none is."""
    after = dead + 1
    after = after[(after < len(segment.ids)) & (np.append(dead[1:], -1) != after)]
    return bool((segment.ids[after] & MAX_PARTS != 1).any())
