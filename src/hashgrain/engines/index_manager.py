"""The index files of a library: which ones fit, which ones to build, and when to open new ones.

LIBRARY/indexes/ may be deleted at any time: a missing or stale index costs time, never an answer.
"""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from hashgrain import inside
from hashgrain.codes import Grains
from hashgrain.engines.embedded import compared_bits
from hashgrain.errors import LibraryDamagedError, LibraryError, reason_of
from hashgrain.hamming import (
    Index,
    Rows,
    build_lists,
    build_tables,
    lists_bytes,
    open_index,
    read_facts,
    save,
    tables_bytes,
)
from hashgrain.hamming.index import CHUNK, MAX_TABLES
from hashgrain.hamming.indexfile import INDEX_ANEW, UNFINISHED
from hashgrain.store import Block, Snapshot

FOLDER = "indexes"
SUFFIX = ".hgi"
PARTS_PREFIX = "parts-"  # before the names of indexes of the rows of parts
MIN_ROWS = 1_000_000  # fewer are scanned in well under a millisecond
MIN_NEW_ROWS = 1 << 18  # rows added since; fewer are scanned
ABANDONED_S = 3600  # an unfinished file without a write for so long is removed
MEMORY_SHARE = 0.25  # that indexes may take by default


@dataclass(frozen=True)
class IndexPlan:
    """An index to build: its kind, its rows, and its size."""

    kind: str
    bits: int
    first: int
    end: int
    bytes: int
    fingerprint: str
    generation: int
    parts: bool = False  # over the rows of parts instead of whole codes

    @property
    def file_name(self) -> str:
        name = f"{self.generation:06d}-{self.first:012d}-{self.end:012d}-{self.kind}-{self.bits}{SUFFIX}"
        return PARTS_PREFIX + name if self.parts else name


def default_memory() -> int:
    """A quarter of the memory of the machine."""
    try:
        return int(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") * MEMORY_SHARE)
    except (AttributeError, ValueError, OSError):  # not on this system
        return 2 << 30


def kinds_for(grains: Grains) -> Iterator[tuple[str, int]]:
    """The kinds and bits of indexes: tables for the widest grain they support, and so for narrower ones; lists for
    the whole code."""
    short = [bits for bits in grains.values() if bits % CHUNK == 0 and bits <= CHUNK * MAX_TABLES]
    if short:
        yield "tables", max(short)
    if grains.bits > CHUNK * MAX_TABLES:
        yield "lists", compared_bits(grains, grains.finest)


class IndexManager:
    """The indexes of one library, of its whole codes or of its `parts`. Files are opened in another thread, so that no
    search waits for them."""

    def __init__(self, library: Path, grains: Grains, *, parts: bool = False) -> None:
        self.library = library
        self.folder = library / FOLDER
        self.grains = grains
        self.parts = parts
        self._opened: dict[str, tuple[str, Index]] = {}  # by name, with the fingerprint
        self._some_unfit = False  # whether a file did not fit the rows; it may fit later ones
        self._lock = threading.Lock()
        self._last_state: tuple[int, int, int] | None = None
        self._questions = 0
        self._opener: threading.Thread | None = None

    def ready(self, snapshot: Snapshot) -> list[Index]:
        """The open indexes that fit this snapshot. The first query of a process opens none, since a scan is faster than
        the check of a file."""
        self._questions += 1
        if self._questions > 1:
            self._start_opening(snapshot)
        return self._fitting_indexes(snapshot)

    def open_all(self, snapshot: Snapshot) -> list[Index]:
        """The same after every file is opened, for many queries."""
        self._wait()
        self._start_opening(snapshot)
        self._wait()
        return self._fitting_indexes(snapshot)

    def _wait(self) -> None:
        with self._lock:
            opener = self._opener
        if opener is not None:
            opener.join()

    def _fitting_indexes(self, snapshot: Snapshot) -> list[Index]:
        if not self._opened:
            return []
        rows = sum(len(segment.ids) for segment in self._segments(snapshot))
        fit = [index for name, (_, index) in self._opened.items() if _parse_name(name)[0] == snapshot.generation]
        return [index for index in fit if index.first + index.n <= rows]

    def _segments(self, snapshot: Snapshot) -> Sequence[Rows]:
        return snapshot.part_segments if self.parts else snapshot.segments

    def _blocks(self, snapshot: Snapshot) -> list[Block]:
        if not self.parts:
            return snapshot.complete_blocks()
        return snapshot.complete_blocks(parts=True) if snapshot.has_parts else []

    def plans(self, snapshot: Snapshot) -> list[IndexPlan]:
        """The indexes that are worth building now. Rows since the last index are merged with indexes that are not much
        larger, so that indexes stay few however often rows are added."""
        blocks = self._blocks(snapshot)
        end = blocks[-1].end if blocks else 0
        result = []
        for kind, bits in kinds_for(self.grains) if end >= MIN_ROWS else ():
            ranges = self._ranges(blocks, snapshot.generation, kind, bits)
            first = ranges[-1][1] if ranges else 0
            if end - first < MIN_NEW_ROWS:
                continue
            while ranges and ranges[-1][1] - ranges[-1][0] < 2 * (end - first):
                first = ranges.pop()[0]
            result.append(_plan(kind, bits, first, end, blocks, snapshot.generation, self.parts))
        return result

    def make(self, snapshot: Snapshot, plan: IndexPlan) -> None:
        """Build an index and write its file; remove the files that it replaces."""
        build = build_tables if plan.kind == "tables" else build_lists
        index = build(self._segments(snapshot), plan.first, plan.end, plan.bits)
        try:
            inside.make_folder(self.library, FOLDER)
            save(index, self.folder / plan.file_name, plan.fingerprint)
        except OSError as error:
            raise LibraryError(
                f"{self.folder}: an index of {plan.bytes:,} bytes cannot be written there ({error});"
                " the library is searched without it",
                path=self.folder,
            ) from error
        for name in self._names():
            if name != plan.file_name and _replaces(plan, name):
                self._remove(name)

    def make_all(
        self,
        snapshot: Snapshot,
        memory: int | None = None,
        on_plan: Callable[[IndexPlan, bool], None] = lambda plan, fits: None,
        dry_run: bool = False,
    ) -> list[IndexPlan]:
        """Build the indexes that are worth it and fit into `memory` bytes; returns the plans that did not fit.

        `on_plan` is called before each index is built or left out, with whether it fits. Damaged and stale files are
        removed first.
        """
        cap = default_memory() if memory is None else memory
        for file, _ in self.damaged(snapshot) if not dry_run else ():
            self._remove(file.name)
        self._remove_unfinished(dry_run)
        plans, left_out = self.plans(snapshot), []
        sizes = {name: self._size(name) for name in self._all_names()}
        for plan in plans:
            remaining = {name: size for name, size in sizes.items() if not _replaces(plan, name)}
            fits = sum(remaining.values()) + plan.bytes <= cap
            on_plan(plan, fits)
            if not fits:
                left_out.append(plan)
                continue
            sizes = {**remaining, plan.file_name: plan.bytes}
            if not dry_run:
                self.make(snapshot, plan)
        return left_out

    def damaged(self, snapshot: Snapshot) -> Iterator[tuple[Path, str]]:
        """The index files that are not sound indexes of these rows, and why."""
        names = self._names()
        blocks = self._blocks(snapshot) if names else []
        for name in names:
            generation, first, end, kind, bits = _parse_name(name)
            if (generation, end) > (snapshot.generation, blocks[-1].end if blocks else 0):
                continue  # made after this snapshot
            try:
                if generation != snapshot.generation:
                    raise LibraryError(
                        f"{self.folder / name}: an index from before the library was rebuilt", path=self.folder / name
                    )
                self._open_one(name, fingerprint(blocks, first, end, kind, bits))
            except (LibraryError, OSError) as error:
                yield self.folder / name, reason_of(error).removeprefix(f"{self.folder / name}: ")

    def bytes(self) -> int:
        """The size of all index files, of whole codes and parts."""
        return sum(self._size(name) for name in self._all_names())

    def _size(self, name: str) -> int:
        return inside.size(self.library, FOLDER, name)

    def _remove(self, name: str) -> None:
        with suppress(OSError):  # in use elsewhere, on some systems; harmless
            inside.remove(self.library, FOLDER, name)

    def _remove_unfinished(self, dry_run: bool) -> None:
        """Remove unfinished files without a recent write."""
        with suppress(OSError):
            for name in [] if dry_run else inside.names(self.library, FOLDER):
                index, _, rest = name.partition(SUFFIX)
                unfinished = _is_index(index + SUFFIX) and rest.startswith(".") and rest.endswith(UNFINISHED)
                if unfinished and time.time() - inside.look(self.library, FOLDER, name).st_mtime > ABANDONED_S:
                    self._remove(name)

    def _all_names(self) -> list[str]:
        try:
            return [name for name in inside.names(self.library, FOLDER) if _is_index(name)]
        except OSError:  # there are none, or none that can be read
            return []

    def _names(self) -> list[str]:
        """The index files of these rows, by first row, the longest first."""
        names = [name for name in self._all_names() if name.startswith(PARTS_PREFIX) == self.parts]
        return sorted(names, key=lambda name: (_parse_name(name)[0:2], -_parse_name(name)[2]))

    def _ranges(self, blocks: Sequence[Block], generation: int, kind: str, bits: int) -> list[tuple[int, int]]:
        """The consecutive ranges of rows, from row 0, that sound files cover."""
        ranges: list[tuple[int, int]] = []
        for name in self._names():
            parsed = _parse_name(name)
            if parsed[0] != generation or parsed[3:] != (kind, bits) or parsed[1] != (ranges[-1][1] if ranges else 0):
                continue
            with suppress(LibraryError):
                if read_facts(self.folder / name).fingerprint == fingerprint(blocks, *parsed[1:]):
                    ranges.append((parsed[1], parsed[2]))
        return ranges

    def _start_opening(self, snapshot: Snapshot) -> None:
        """Start opening new files in a thread, unless it is running already or nothing changed."""
        try:
            changed = inside.look(self.library, FOLDER).st_mtime_ns
        except OSError:
            return
        with self._lock:
            rows = sum(len(segment.ids) for segment in self._segments(snapshot)) if self._some_unfit else 0
            state = (changed, snapshot.generation, rows)
            if state == self._last_state or (self._opener is not None and self._opener.is_alive()):
                return
            self._last_state = state
            arguments = (self._blocks(snapshot), snapshot.generation)
            self._opener = threading.Thread(target=self._open, args=arguments, name="hashgrain-indexes", daemon=True)
            self._opener.start()

    def _open(self, blocks: Sequence[Block], generation: int) -> None:
        opened: dict[str, tuple[str, Index]] = {}
        some_unfit = False
        covered: dict[tuple[str, int], int] = {}
        for name in self._names():
            file_generation, first, end, kind, bits = _parse_name(name)
            if file_generation != generation or first < covered.get((kind, bits), 0):
                continue
            expected = fingerprint(blocks, first, end, kind, bits)
            known = self._opened.get(name)
            try:
                opened[name] = known if known and known[0] == expected else (expected, self._open_one(name, expected))
                covered[kind, bits] = end
            except (LibraryError, OSError):  # `hashgrain verify` names it, `hashgrain index` makes it anew
                some_unfit = True
        self._opened, self._some_unfit = opened, some_unfit

    def _open_one(self, name: str, expected: str) -> Index:
        """Open a file; raise if it is not the index that its name says, of exactly these rows."""
        index = open_index(self.folder / name, expected)
        _, first, end, kind, bits = _parse_name(name)
        if (index.first, index.first + index.n, index.path) != (first, end, kind) or not index.serves(bits):
            message = f"{self.folder / name}: not what its name says"
            raise LibraryDamagedError(message, path=self.folder / name, remedy=INDEX_ANEW)
        return index


def fingerprint(blocks: Iterable[Block], first: int, end: int, kind: str, bits: int) -> str:
    """Identifies exactly these rows by the checksums of their blocks."""
    covered = [(b.first_row, b.rows, b.crcs) for b in blocks if first <= b.first_row and b.end <= end]
    return hashlib.sha256(repr((kind, bits, first, end, covered)).encode()).hexdigest()


def _plan(
    kind: str, bits: int, first: int, end: int, blocks: Sequence[Block], generation: int, parts: bool
) -> IndexPlan:
    size = (tables_bytes if kind == "tables" else lists_bytes)(end - first, bits)
    return IndexPlan(kind, bits, first, end, size, fingerprint(blocks, first, end, kind, bits), generation, parts)


def _replaces(plan: IndexPlan, name: str) -> bool:
    """Whether the index of a plan makes a file useless."""
    if name.startswith(PARTS_PREFIX) != plan.parts:
        return False
    generation, first, end, kind, bits = _parse_name(name)
    same = generation == plan.generation and (kind, bits) == (plan.kind, plan.bits)
    return generation < plan.generation or (same and plan.first <= first and end <= plan.end)


def _parse_name(name: str) -> tuple[int, int, int, str, int]:
    generation, first, end, kind, bits = name.removeprefix(PARTS_PREFIX).removesuffix(SUFFIX).split("-")
    return int(generation), int(first), int(end), kind, int(bits)


def _is_index(name: str) -> bool:
    if not name.endswith(SUFFIX):
        return False
    try:
        return _parse_name(name)[3] in ("tables", "lists")
    except ValueError:
        return False
