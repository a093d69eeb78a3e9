"""Every check there is. Damage is listed with its remedy, and never raised."""

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
    Mapped,
    Place,
    bad_blocks,
    extras,
    map_segment,
    places,
)
from hashgrain.store.spaces import PARTS, SPACES, WHOLE, expanded

AT_ONCE = 65_536
TRIES = 10
MOST = 20  # findings of one kind to list; a broken disk can have millions

Check = Callable[[Connection, Path, int], Iterator[Problem]]


def problems(connection: Connection, library: Path, n_words: int) -> list[Problem]:
    """What is wrong, all seen at one moment."""
    found: list[Problem] = []
    for _ in range(TRIES):
        try:
            connection.execute("BEGIN")
            found = _all(connection, library, n_words)
            before = _era(connection, library)
            connection.execute("ROLLBACK")
        except sqlite3.Error as error:
            return [Problem(str(library / catalogue.NAME), f"cannot be read: {reason_of(error)}", FROM_BACKUP)]
        if not found or _era(connection, library) == before:
            break  # else a rebuild deleted the files while we looked at them
    return found


def _era(connection: Connection, library: Path) -> int | None:
    try:
        return read_counters(connection, library).era
    except (sqlite3.Error, LibraryError):
        return None


def _all(connection: Connection, library: Path, n_words: int) -> list[Problem]:
    found: list[Problem] = []
    checks: tuple[Check, ...] = (
        _structure,
        _facts,
        _pages,
        _commits,
        _remembered,
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
                if count == MOST:
                    found.append(replace(problem, reason=f"and more like it after these {MOST}"))
                    break
                found.append(problem)
        except MendableError as error:
            found.append(Problem(error.thing, error.reason, to_rebuild(library)))
        except (sqlite3.Error, LibraryError, OSError, ValueError, TypeError, OverflowError) as error:
            found.append(Problem(str(library / catalogue.NAME), f"cannot be read: {reason_of(error)}", FROM_BACKUP))
    return found


def _structure(connection: Connection, library: Path, n_words: int) -> Iterator[Problem]:
    """SQLite's own look at its pages and indexes, and rows that point nowhere."""
    thing = str(library / catalogue.NAME)
    for (line,) in connection.execute(f"PRAGMA integrity_check({MOST})"):
        if line != "ok":
            yield Problem(thing, f"the file is damaged: {line}", FROM_BACKUP)
    for table, row, *_ in connection.execute("PRAGMA foreign_key_check"):
        yield Problem(thing, f"{table} {row} belongs to no item", FROM_BACKUP)


def _facts(connection: Connection, library: Path, n_words: int) -> Iterator[Problem]:
    try:
        catalogue.facts(connection, library)
    except LibraryError as error:
        yield Problem(str(library / catalogue.NAME), reason_of(error), FROM_BACKUP)


def _pages(connection: Connection, library: Path, n_words: int) -> Iterator[Problem]:
    """Every page of the catalogue against its sum."""
    PageCheck(library).check()
    if read_counters(connection, library).commit and not inside.is_file(library, page_checksums.NAME):
        yield Problem(
            str(library / page_checksums.NAME), "the file is missing", "the next writer makes it", harmless=True
        )


def _commits(connection: Connection, library: Path, n_words: int) -> Iterator[Problem]:
    """The commits that were acknowledged against those the catalogue has."""
    facts, commit = catalogue.facts(connection, library), read_counters(connection, library).commit
    acknowledged = redo.acknowledged(library, facts.owner)
    if acknowledged is None and commit:
        reason = "it is missing or damaged: what the catalogue lost could not be noticed"
        yield Problem(str(library / redo.NAME), reason, "the next writer makes it", harmless=True)


def _remembered(connection: Connection, library: Path, n_words: int) -> Iterator[Problem]:
    """Files that were refused or taken out; what does not read is raised."""
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
    for item, code, seal in connection.each("SELECT item, code, seal FROM rows"):
        if not catalogue.is_sound(n_words, item, code, seal):
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
    held = sum(block.rows for block in read_blocks(connection, library, WHOLE, n_words))
    thing = str(library / catalogue.NAME)
    if (live + dead, dead, held, both) != (whole.rows, whole.dead, whole.rows, 0):
        reason = (
            f"the counts disagree: {whole.rows} rows of which {whole.dead} dead are noted,"
            f" {live} live and {dead} dead are there ({both} both), the segments hold {held}"
        )
        yield Problem(thing, reason, to_rebuild(library))


def _part_counts(connection: Connection, library: Path, n_words: int) -> Iterator[Problem]:
    """The same of parts: entries, live and dead, tile the rows, and the blocks hold all of them."""
    extent = read_counters(connection, library).parts
    held = sum(block.rows for block in read_blocks(connection, library, PARTS, n_words))
    (dead,) = connection.execute("SELECT count(*) FROM part_dead").fetchone()
    end = gaps = 0
    for row, rows in connection.each(
        "SELECT row, rows FROM parts UNION ALL SELECT row, rows FROM part_dead ORDER BY 1"
    ):
        gaps += row != end
        end = row + rows
    if (end, held, dead, gaps) != (extent.rows, extent.rows, extent.dead, 0):
        reason = (
            f"the counts of parts disagree: {extent.rows} rows of which {extent.dead} dead entries are noted, {dead} of"
            f" them are there, entries end at {end} with {gaps} gaps, the segments hold {held}"
        )
        yield Problem(str(library / catalogue.NAME), reason, to_rebuild(library))


def _log(connection: Connection, library: Path, n_words: int) -> Iterator[Problem]:
    """Whether the log of changes leads to the items that there are."""
    wrong = change_log.damage(connection, read_counters(connection, library).sequence)
    if wrong is not None:
        reason = f"the log of changes is damaged: {wrong}"
        yield Problem(str(library / catalogue.NAME), reason, to_rebuild(library))


def _segments(connection: Connection, library: Path, n_words: int) -> Iterator[Problem]:
    """Each file's header, length and checksums; then its rows against the catalogue's, live and dead."""
    for place, blocks in _places(connection, library, n_words):
        try:
            mapped = map_segment(library, place)
        except MendableError as error:
            yield Problem(error.thing, error.reason, to_rebuild(library))
            continue
        for damage in bad_blocks(library, mapped, blocks):
            yield Problem(damage.thing, damage.reason, to_rebuild(library))
        for kind, wrong in _unlike(connection, place, mapped).items():
            if wrong:
                reason = f"{wrong} rows differ from the catalogue"
                yield Problem(str(place.file(library, kind)), reason, to_rebuild(library))


def _places(connection: Connection, library: Path, n_words: int) -> Iterator[tuple[Place, list[Block]]]:
    for space in SPACES:
        yield from places(read_blocks(connection, library, space, n_words), space, n_words)


def _unlike(connection: Connection, place: Place, mapped: Mapped) -> Counter[str]:
    """How many rows of each file of a segment the catalogue has otherwise. Whether it has them, the ids say."""
    ids, planes = mapped.arrays()
    wrong: Counter[str] = Counter()
    known = 0
    space = place.space
    for start in range(0, place.rows, AT_ONCE):
        span = (place.first_row + start, place.first_row + min(start + AT_ONCE, place.rows))
        live = _entries(connection, space.codes, f"row, item, {space.length}, code", span)
        dead = _entries(connection, space.dead, f"row, item, {space.length}", span)
        whole = [entry for entry in live if len(entry[3]) == 8 * place.n_words * entry[2]]  # of others `_items` tells
        codes = np.frombuffer(b"".join(entry[3] for entry in whole), "<u8").reshape(-1, place.n_words)
        for entries in (live, dead):
            at, expected = _rows(place, entries)
            known += len(at)
            wrong["ids"] += int((ids[at] != expected).sum())
        at, _ = _rows(place, whole)
        for kind, plane, right in zip(place.kinds, planes, codes.T, strict=False):
            wrong[kind] += int((plane[at] != right[: len(at)]).sum())
    wrong["ids"] += abs(place.rows - known)
    return wrong


def _entries(connection: Connection, table: str, columns: str, span: tuple[int, int]) -> list[tuple[Any, ...]]:
    """The entries that begin within the span, in order."""
    return connection.all(f"SELECT {columns} FROM {table} WHERE row >= ? AND row < ? ORDER BY row", span)


def _rows(place: Place, entries: Sequence[tuple[Any, ...]]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where the rows of these entries are in a segment, and their ids. An entry has no more rows than there are before
    the next one, or the end of the segment, however many it says."""
    rows, items, lengths = np.array([entry[:3] for entry in entries], np.int64).reshape(-1, 3).T
    most = np.diff(rows, append=place.first_row + place.rows)
    rows, ids = expanded(place.space, rows, items, np.clip(lengths, 0, most))
    return rows - place.first_row, ids


def _leftovers(connection: Connection, library: Path, n_words: int) -> Iterator[Problem]:
    """Space that counts for nothing: an add that runs right now, or one that was interrupted."""
    for extra in extras(library, [place for place, _ in _places(connection, library, n_words)]):
        size = inside.size(library, extra.file.parent.name, extra.file.name) - (extra.keep or 0)
        reason = f"{size} bytes are not committed: a batch is being written, or was interrupted"
        yield Problem(str(extra.file), reason, "none needed: the next writer gives the space back", harmless=True)
