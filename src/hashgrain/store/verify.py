"""All checks of a library. Damage is listed with its remedy, and never raised."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hashgrain import inside
from hashgrain.errors import LibraryError, Remedy, reason_of
from hashgrain.store import catalogue, change_log, page_checksums, parts, redo, skipped_files
from hashgrain.store.blocks import Block, read_blocks
from hashgrain.store.catalogue import Connection
from hashgrain.store.counters import read_counters
from hashgrain.store.errors import FROM_BACKUP, MendableError, to_rebuild
from hashgrain.store.items import COLUMNS, Problem, item_of
from hashgrain.store.page_checksums import PageCheck
from hashgrain.store.segments import (
    MappedSegment,
    SegmentInfo,
    bad_blocks,
    group_blocks,
    leftovers,
    map_segment,
)
from hashgrain.store.spaces import PARTS, SPACES, WHOLE, expand_entries

AT_ONCE = 65_536
TRIES = 10
MAX_FINDINGS = 20  # findings of one kind to list; a broken disk can have millions

Check = Callable[[Connection, Path, int], Iterator[Problem]]


def problems(connection: Connection, library: Path, n_words: int) -> list[Problem]:
    """All problems of a library, as of one moment."""
    findings: list[Problem] = []
    for _ in range(TRIES):
        try:
            connection.execute("BEGIN")
            findings = _all(connection, library, n_words)
            before = _generation(connection, library)
            connection.execute("ROLLBACK")
        except sqlite3.Error as error:
            return [Problem(str(library / catalogue.NAME), f"cannot be read: {reason_of(error)}", FROM_BACKUP)]
        if not findings or _generation(connection, library) == before:
            break  # otherwise a rebuild deleted the files during the checks
    return findings


def _generation(connection: Connection, library: Path) -> int | None:
    try:
        return read_counters(connection, library).generation
    except (sqlite3.Error, LibraryError):
        return None


def _all(connection: Connection, library: Path, n_words: int) -> list[Problem]:
    findings: list[Problem] = []
    checks: tuple[Check, ...] = (
        _structure,
        _facts,
        _pages,
        _commits,
        _skipped_files,
        _items,
        _counts,
        _part_counts,
        _log,
        _segments,
        _leftovers,
    )
    for check in checks:
        try:
            for count, problem in enumerate(check(connection, library, n_words)):
                if count == MAX_FINDINGS:
                    findings.append(replace(problem, reason=f"and more like it after these {MAX_FINDINGS}"))
                    break
                findings.append(problem)
        except MendableError as error:
            findings.append(Problem(error.thing, error.reason, to_rebuild(library)))
        except (sqlite3.Error, LibraryError, OSError, ValueError, TypeError, OverflowError) as error:
            findings.append(Problem(str(library / catalogue.NAME), f"cannot be read: {reason_of(error)}", FROM_BACKUP))
    return findings


def _structure(connection: Connection, library: Path, n_words: int) -> Iterator[Problem]:
    """SQLite's own check of its pages and indexes, and rows that point nowhere."""
    thing = str(library / catalogue.NAME)
    for (line,) in connection.execute(f"PRAGMA integrity_check({MAX_FINDINGS})"):
        if line != "ok":
            yield Problem(thing, f"the file is damaged: {line}", FROM_BACKUP)
    for table, row, *_ in connection.execute("PRAGMA foreign_key_check"):
        yield Problem(thing, f"{table} {row} belongs to no item", FROM_BACKUP)


def _facts(connection: Connection, library: Path, n_words: int) -> Iterator[Problem]:
    try:
        catalogue.library_facts(connection, library)
    except LibraryError as error:
        yield Problem(str(library / catalogue.NAME), reason_of(error), FROM_BACKUP)


def _pages(connection: Connection, library: Path, n_words: int) -> Iterator[Problem]:
    """Every page of the catalogue against its checksum."""
    PageCheck(library).check()
    if read_counters(connection, library).commit and not inside.is_file(library, page_checksums.NAME):
        yield Problem(
            str(library / page_checksums.NAME), "the file is missing", "the next writer makes it", harmless=True
        )


def _commits(connection: Connection, library: Path, n_words: int) -> Iterator[Problem]:
    """The acknowledged commits against those of the catalogue."""
    facts, commit = catalogue.library_facts(connection, library), read_counters(connection, library).commit
    acknowledged = redo.acknowledged(library, facts.owner)
    if acknowledged is None and commit:
        reason = "it is missing or damaged: what the catalogue lost could not be noticed"
        yield Problem(str(library / redo.NAME), reason, "the next writer makes it", harmless=True)


def _skipped_files(connection: Connection, library: Path, n_words: int) -> Iterator[Problem]:
    """Files that were refused or excluded; entries that do not read raise."""
    if connection.version >= 3:
        skipped_files.refusals(connection.each("SELECT * FROM refusals"), library)
        skipped_files.exclusions(connection.each("SELECT path FROM exclusions"), library)
    yield from ()


def _items(connection: Connection, library: Path, n_words: int) -> Iterator[Problem]:
    """The checksum of every item and of every code."""
    again = Remedy("remove the item, then add its file again", "remove_items")
    for row in connection.each(f"SELECT {COLUMNS}, seal FROM items"):
        try:
            item_of(row, library)
        except LibraryError:
            yield Problem(f"{library}: item {row[0]}", "its entry does not match its checksum, or is no item's", again)
    for item, code, checksum in connection.each("SELECT item, code, seal FROM rows"):
        if not catalogue.is_sound(n_words, item, code, checksum):
            yield Problem(f"{library}: item {item}", "its code does not match its checksum", to_rebuild(library))
    for item, *entry in connection.each("SELECT item, rows, code, positions, seal FROM parts"):
        if not parts.is_sound(n_words, item, *entry):
            yield Problem(f"{library}: item {item}", "its parts do not match their checksum", to_rebuild(library))
    orphans = "SELECT id FROM items EXCEPT SELECT item FROM rows"
    for (item,) in connection.each(orphans):
        yield Problem(f"{library}: item {item}", "it has no code", again)


def _counts(connection: Connection, library: Path, n_words: int) -> Iterator[Problem]:
    """The counters against what they count: rows are live or dead, and the blocks hold all of them."""
    whole = read_counters(connection, library).whole
    (live,) = connection.execute("SELECT count(*) FROM rows").fetchone()
    (dead,) = connection.execute("SELECT count(*) FROM dead").fetchone()
    (both,) = connection.execute("SELECT count(*) FROM dead WHERE row IN (SELECT row FROM rows)").fetchone()
    block_rows = sum(block.rows for block in read_blocks(connection, library, WHOLE, n_words))
    thing = str(library / catalogue.NAME)
    if (live + dead, dead, block_rows, both) != (whole.rows, whole.dead, whole.rows, 0):
        reason = (
            f"the counts disagree: {whole.rows} rows of which {whole.dead} dead are noted,"
            f" {live} live and {dead} dead are there ({both} both), the segments hold {block_rows}"
        )
        yield Problem(thing, reason, to_rebuild(library))


def _part_counts(connection: Connection, library: Path, n_words: int) -> Iterator[Problem]:
    """The same for parts: live and dead entries tile the rows, and the blocks hold all of them."""
    extent = read_counters(connection, library).parts
    block_rows = sum(block.rows for block in read_blocks(connection, library, PARTS, n_words))
    (dead,) = connection.execute("SELECT count(*) FROM part_dead").fetchone()
    end = gaps = 0
    for row, rows in connection.each(
        "SELECT row, rows FROM parts UNION ALL SELECT row, rows FROM part_dead ORDER BY 1"
    ):
        gaps += row != end
        end = row + rows
    if (end, block_rows, dead, gaps) != (extent.rows, extent.rows, extent.dead, 0):
        reason = (
            f"the counts of parts disagree: {extent.rows} rows of which {extent.dead} dead entries are noted, {dead} of"
            f" them are there, entries end at {end} with {gaps} gaps, the segments hold {block_rows}"
        )
        yield Problem(str(library / catalogue.NAME), reason, to_rebuild(library))


def _log(connection: Connection, library: Path, n_words: int) -> Iterator[Problem]:
    """Whether the log of changes leads to the present items."""
    damage = change_log.find_damage(connection, read_counters(connection, library).sequence)
    if damage is not None:
        reason = f"the log of changes is damaged: {damage}"
        yield Problem(str(library / catalogue.NAME), reason, to_rebuild(library))


def _segments(connection: Connection, library: Path, n_words: int) -> Iterator[Problem]:
    """Each file's header, length and checksums; then its rows against the catalogue's, live and dead."""
    for info, blocks in _segment_infos(connection, library, n_words):
        try:
            mapped = map_segment(library, info)
        except MendableError as error:
            yield Problem(error.thing, error.reason, to_rebuild(library))
            continue
        for damage in bad_blocks(library, mapped, blocks):
            yield Problem(damage.thing, damage.reason, to_rebuild(library))
        for kind, count in _differing_rows(connection, info, mapped).items():
            if count:
                reason = f"{count} rows differ from the catalogue"
                yield Problem(str(info.file(library, kind)), reason, to_rebuild(library))


def _segment_infos(connection: Connection, library: Path, n_words: int) -> Iterator[tuple[SegmentInfo, list[Block]]]:
    for space in SPACES:
        yield from group_blocks(read_blocks(connection, library, space, n_words), space, n_words)


def _differing_rows(connection: Connection, info: SegmentInfo, mapped: MappedSegment) -> Counter[str]:
    """How many rows of each file of a segment differ from the catalogue. Rows that it lacks count as wrong ids."""
    ids, planes = mapped.arrays()
    differing: Counter[str] = Counter()
    listed = 0
    space = info.space
    for start in range(0, info.rows, AT_ONCE):
        span = (info.first_row + start, info.first_row + min(start + AT_ONCE, info.rows))
        live = _entries(connection, space.codes, f"row, item, {space.length}, code", span)
        dead = _entries(connection, space.dead, f"row, item, {space.length}", span)
        intact = [
            entry for entry in live if len(entry[3]) == 8 * info.n_words * entry[2]
        ]  # `_items` reports the others
        codes = np.frombuffer(b"".join(entry[3] for entry in intact), "<u8").reshape(-1, info.n_words)
        for entries in (live, dead):
            rows, expected = _rows(info, entries)
            listed += len(rows)
            differing["ids"] += int((ids[rows] != expected).sum())
        rows, _ = _rows(info, intact)
        for kind, plane, expected_words in zip(info.kinds, planes, codes.T, strict=False):
            differing[kind] += int((plane[rows] != expected_words[: len(rows)]).sum())
    differing["ids"] += abs(info.rows - listed)
    return differing


def _entries(connection: Connection, table: str, columns: str, span: tuple[int, int]) -> list[tuple[Any, ...]]:
    """The entries that begin within the span, in order."""
    return connection.all(f"SELECT {columns} FROM {table} WHERE row >= ? AND row < ? ORDER BY row", span)


def _rows(info: SegmentInfo, entries: Sequence[tuple[Any, ...]]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The places of the rows of these entries in a segment, and their ids. However many rows an entry claims, they end
    before the next entry, and at the end of the segment."""
    rows, items, lengths = np.array([entry[:3] for entry in entries], np.int64).reshape(-1, 3).T
    room = np.diff(rows, append=info.first_row + info.rows)
    rows, ids = expand_entries(info.space, rows, items, np.clip(lengths, 0, room))
    return rows - info.first_row, ids


def _leftovers(connection: Connection, library: Path, n_words: int) -> Iterator[Problem]:
    """Unused space, from an `add` that is running or was interrupted."""
    for leftover in leftovers(library, [info for info, _ in _segment_infos(connection, library, n_words)]):
        size = inside.size(library, leftover.file.parent.name, leftover.file.name) - (leftover.committed_bytes or 0)
        reason = f"{size} bytes are not committed: a batch is being written, or was interrupted"
        yield Problem(str(leftover.file), reason, "none needed: the next writer gives the space back", harmless=True)
