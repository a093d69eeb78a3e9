"""Appending rows to the segments, and rewriting all segments from the catalogue."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from hashgrain.store import catalogue, changes, segments
from hashgrain.store.blocks import Block, read_blocks, write_blocks
from hashgrain.store.catalogue import Connection
from hashgrain.store.changes import Tail
from hashgrain.store.counters import Counters, Extent
from hashgrain.store.errors import MendableError
from hashgrain.store.parts import damaged_error, is_sound
from hashgrain.store.segments import SegmentInfo
from hashgrain.store.spaces import SPACES, WHOLE, Space, ids_of

REBUILD_ROWS = 65_536  # rows in memory, and in a block, while segments are rewritten
ENTRIES_AT_ONCE = 1_000  # of parts, read at a time


def append(
    connection: Connection, library: Path, n_words: int, space: Space, before: Extent, tail: Tail, segment_rows: int
) -> Extent:
    """Write the rows of a batch and their blocks into the segments, durably; returns the new extent of the space."""
    info, last = _append_target(connection, library, n_words, space, before, segment_rows)
    if not tail.ids:
        return tail.extent
    write_blocks(connection, space, segments.append(library, info, last, tail.ids, b"".join(tail.codes)))
    return tail.extent._replace(segment=info.number)


def _append_target(
    connection: Connection, library: Path, n_words: int, space: Space, extent: Extent, segment_rows: int
) -> tuple[SegmentInfo, Block | None]:
    """The segment to append to and its last block: the last segment, or a new one if that is full."""
    blocks = read_blocks(connection, library, space, n_words, extent.segment)
    for info, segment_blocks in segments.group_blocks(blocks, space, n_words):
        if info.first_row + info.rows != extent.rows:
            raise MendableError(library, library / catalogue.NAME, "the list of blocks is damaged")
        if info.rows < segment_rows:
            return info, segment_blocks[-1]
    return SegmentInfo(extent.segment + 1, extent.rows, 0, n_words, space), None


def rewrite(connection: Connection, library: Path, n_words: int, before: Counters, segment_rows: int) -> Counters:
    """Rewrite the segments, by item, without dead rows. They count once the caller commits."""
    after = replace(before, generation=before.generation + 1)
    for space in SPACES:
        changes.renumber(connection, space)
        connection.execute(f"DELETE FROM {space.dead}")
        connection.execute(f"DELETE FROM {space.blocks}")
        extent = before.extent_of(space)
        info = SegmentInfo(extent.segment + 1, 0, 0, n_words, space)
        # Closed even when writing fails: an open cursor would lock the tables against the next attempt.
        with closing(_entries(connection, library, n_words, space, min(REBUILD_ROWS, segment_rows))) as entries:
            for ids, codes in entries:
                if info.rows >= segment_rows:
                    info = replace(info, number=info.number + 1, first_row=info.first_row + info.rows, rows=0)
                write_blocks(connection, space, segments.append(library, info, None, ids, codes))
                info = replace(info, rows=info.rows + len(ids))
        number = info.number if info.rows else extent.segment
        after = after.with_extent(space, Extent(info.first_row + info.rows, 0, number))
    return after


def _entries(
    connection: Connection, library: Path, n_words: int, space: Space, at_once: int
) -> Generator[tuple[list[int], bytes], None, None]:
    """The ids and codes of all live entries, in order, about `at_once` rows at a time."""
    ids: list[int] = []
    codes: list[bytes] = []
    query = "SELECT item, code, seal FROM rows ORDER BY row"
    if space is not WHOLE:
        query = "SELECT item, code, seal, rows, positions FROM parts ORDER BY row"
    with closing(connection.execute(query)) as cursor:
        while rows := cursor.fetchmany(at_once if space is WHOLE else ENTRIES_AT_ONCE):
            for item, code, checksum, *rest in rows:
                if space is WHOLE:
                    catalogue.sound_code(library, n_words, item, code, checksum)
                    ids.append(item)
                elif is_sound(n_words, item, rest[0], code, rest[1], checksum):
                    ids += ids_of(space, item, rest[0])
                else:
                    raise damaged_error(library, item)
                codes.append(code)
                if len(ids) >= at_once:
                    yield ids, b"".join(codes)
                    ids, codes = [], []
    if ids:
        yield ids, b"".join(codes)
