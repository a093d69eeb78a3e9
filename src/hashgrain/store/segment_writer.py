"""Rows behind those of the segments, and segments written anew from the catalogue."""

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
from hashgrain.store.parts import damaged, is_sound
from hashgrain.store.segments import Place
from hashgrain.store.spaces import SPACES, WHOLE, Space, ids_of

REBUILD_ROWS = 65_536  # rows in memory, and in a block, while segments are written anew
ENTRIES_AT_ONCE = 1_000  # of parts, to be read at a time


def append(
    connection: Connection, library: Path, n_words: int, space: Space, before: Extent, tail: Tail, segment_rows: int
) -> Extent:
    """Write the rows of a batch into the segments, durably, and their blocks; how far the space reaches now."""
    place, last = _end(connection, library, n_words, space, before, segment_rows)
    if not tail.ids:
        return tail.extent
    write_blocks(connection, space, segments.append(library, place, last, tail.ids, b"".join(tail.codes)))
    return tail.extent._replace(segment=place.number)


def _end(
    connection: Connection, library: Path, n_words: int, space: Space, extent: Extent, segment_rows: int
) -> tuple[Place, Block | None]:
    """The segment to append to and its last block: the last one, or a new one where that is full."""
    blocks = read_blocks(connection, library, space, n_words, extent.segment)
    for place, members in segments.places(blocks, space, n_words):
        if place.first_row + place.rows != extent.rows:
            raise MendableError(library, library / catalogue.NAME, "the list of blocks is damaged")
        if place.rows < segment_rows:
            return place, members[-1]
    return Place(extent.segment + 1, extent.rows, 0, n_words, space), None


def rewrite(connection: Connection, library: Path, n_words: int, before: Counters, segment_rows: int) -> Counters:
    """Write the segments anew, by item, without dead rows. They count when the caller commits."""
    after = replace(before, era=before.era + 1)
    for space in SPACES:
        changes.renumber(connection, space)
        connection.execute(f"DELETE FROM {space.dead}")
        connection.execute(f"DELETE FROM {space.blocks}")
        extent = before.of(space)
        place = Place(extent.segment + 1, 0, 0, n_words, space)
        # Closed even when writing fails: an open cursor would lock the tables against the next attempt.
        with closing(_entries(connection, library, n_words, space, min(REBUILD_ROWS, segment_rows))) as entries:
            for ids, codes in entries:
                if place.rows >= segment_rows:
                    place = replace(place, number=place.number + 1, first_row=place.first_row + place.rows, rows=0)
                write_blocks(connection, space, segments.append(library, place, None, ids, codes))
                place = replace(place, rows=place.rows + len(ids))
        number = place.number if place.rows else extent.segment
        after = after.grown(space, Extent(place.first_row + place.rows, 0, number))
    return after


def _entries(
    connection: Connection, library: Path, n_words: int, space: Space, at_once: int
) -> Generator[tuple[list[int], bytes], None, None]:
    """The rows of all live entries, in order, about so many at a time: their ids, and their codes."""
    ids: list[int] = []
    codes: list[bytes] = []
    query = "SELECT item, code, seal FROM rows ORDER BY row"
    if space is not WHOLE:
        query = "SELECT item, code, seal, rows, positions FROM parts ORDER BY row"
    with closing(connection.execute(query)) as cursor:
        while rows := cursor.fetchmany(at_once if space is WHOLE else ENTRIES_AT_ONCE):
            for item, code, seal, *more in rows:
                if space is WHOLE:
                    catalogue.sound_code(library, n_words, item, code, seal)
                    ids.append(item)
                elif is_sound(n_words, item, more[0], code, more[1], seal):
                    ids += ids_of(space, item, more[0])
                else:
                    raise damaged(library, item)
                codes.append(code)
                if len(ids) >= at_once:
                    yield ids, b"".join(codes)
                    ids, codes = [], []
    if ids:
        yield ids, b"".join(codes)
