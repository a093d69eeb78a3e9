"""The index files of a library: which ones fit, which ones to make, and when to look at them again.

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
OF_PARTS = "parts-"  # before the names of indexes of the rows of parts
WORTH_ROWS = 1_000_000  # fewer are scanned in well under a millisecond
WORTH_NEW = 1 << 18  # rows added since; fewer are scanned
ABANDONED_S = 3600  # an unfinished file that nobody has written to for so long
PART_OF_MEMORY = 0.25  # what indexes may take, unless told otherwise


@dataclass(frozen=True)
class IndexPlan:
    """An index to make: of which kind, over which rows, and how large it will be."""

    kind: str
    bits: int
    first: int
    end: int
    bytes: int
    fingerprint: str
    era: int
    parts: bool = False  # over the rows of parts, and not those of whole codes

    @property
    def file_name(self) -> str:
        name = f"{self.era:06d}-{self.first:012d}-{self.end:012d}-{self.kind}-{self.bits}{SUFFIX}"
        return OF_PARTS + name if self.parts else name


def default_memory() -> int:
    """A quarter of what the machine has."""
    try:
        return int(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") * PART_OF_MEMORY)
    except (AttributeError, ValueError, OSError):  # not on this system
        return 2 << 30


def kinds_for(grains: Grains) -> Iterator[tuple[str, int]]:
    """Tables for the widest grain they can serve, which serve those below as well; lists for the whole code."""
    short = [bits for bits in grains.values() if bits % CHUNK == 0 and bits <= CHUNK * MAX_TABLES]
    if short:
        yield "tables", max(short)
    if grains.bits > CHUNK * MAX_TABLES:
        yield "lists", compared_bits(grains, grains.finest)


class IndexManager:
    """One library's indexes, of its whole codes or of its `parts`. Looking at files happens on another thread: no
    search ever waits for one."""

    def __init__(self, library: Path, grains: Grains, *, parts: bool = False) -> None:
        self.library = library
        self.folder = library / FOLDER
        self.grains = grains
        self.parts = parts
        self._opened: dict[str, tuple[str, Index]] = {}  # by name, with the fingerprint
        self._missed = False  # files that did not fit the rows of that moment, and may fit later ones
        self._lock = threading.Lock()
        self._seen: tuple[int, int, int] | None = None
        self._asked = 0
        self._looking: threading.Thread | None = None

    def ready(self, snapshot: Snapshot) -> list[Index]:
        """The indexes that are open and fit this snapshot. The first question of a process does not ask for any:
        it is answered sooner than a file is checked."""
        self._asked += 1
        if self._asked > 1:
            self._look(snapshot)
        return self._fitting(snapshot)

    def open_all(self, snapshot: Snapshot) -> list[Index]:
        """The same after looking at every file now: for who asks many questions."""
        self._wait()
        self._look(snapshot)
        self._wait()
        return self._fitting(snapshot)

    def _wait(self) -> None:
        with self._lock:
            looking = self._looking
        if looking is not None:
            looking.join()

    def _fitting(self, snapshot: Snapshot) -> list[Index]:
        if not self._opened:
            return []
        rows = sum(len(segment.ids) for segment in self._segments(snapshot))
        fit = [index for name, (_, index) in self._opened.items() if _parsed(name)[0] == snapshot.era]
        return [index for index in fit if index.first + index.n <= rows]

    def _segments(self, snapshot: Snapshot) -> Sequence[Rows]:
        return snapshot.part_segments if self.parts else snapshot.segments

    def _blocks(self, snapshot: Snapshot) -> list[Block]:
        if not self.parts:
            return snapshot.sealed()
        return snapshot.sealed(parts=True) if snapshot.has_parts else []

    def plans(self, snapshot: Snapshot) -> list[IndexPlan]:
        """What is worth making now. Rows since the last index are taken together with indexes not much larger,
        so that however often rows are added, indexes stay few."""
        blocks = self._blocks(snapshot)
        end = blocks[-1].end if blocks else 0
        found = []
        for kind, bits in kinds_for(self.grains) if end >= WORTH_ROWS else ():
            ranges = self._ranges(blocks, snapshot.era, kind, bits)
            first = ranges[-1][1] if ranges else 0
            if end - first < WORTH_NEW:
                continue
            while ranges and ranges[-1][1] - ranges[-1][0] < 2 * (end - first):
                first = ranges.pop()[0]
            found.append(_plan(kind, bits, first, end, blocks, snapshot.era, self.parts))
        return found

    def make(self, snapshot: Snapshot, plan: IndexPlan) -> None:
        """Build an index and put it on the shelf; what it replaces is taken off."""
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
        tell: Callable[[IndexPlan, bool], None] = lambda plan, fits: None,
        dry_run: bool = False,
    ) -> list[IndexPlan]:
        """Make what is worth making and fits into `memory` bytes; `tell` hears of each plan before it is made, or
        that it will not be. Returns those that did not fit. Files that are damaged or stale go first."""
        cap = default_memory() if memory is None else memory
        for file, _ in self.damaged(snapshot) if not dry_run else ():
            self._remove(file.name)
        self._sweep(dry_run)
        plans, left_out = self.plans(snapshot), []
        taken = {name: self._size(name) for name in self._every_name()}
        for plan in plans:
            kept = {name: size for name, size in taken.items() if not _replaces(plan, name)}
            fits = sum(kept.values()) + plan.bytes <= cap
            tell(plan, fits)
            if not fits:
                left_out.append(plan)
                continue
            taken = {**kept, plan.file_name: plan.bytes}
            if not dry_run:
                self.make(snapshot, plan)
        return left_out

    def damaged(self, snapshot: Snapshot) -> Iterator[tuple[Path, str]]:
        """Every index file that is not a sound index of these rows, and why."""
        names = self._names()
        blocks = self._blocks(snapshot) if names else []
        for name in names:
            era, first, end, kind, bits = _parsed(name)
            if era > snapshot.era or (era == snapshot.era and end > (blocks[-1].end if blocks else 0)):
                continue  # of a later moment than this one
            try:
                if era != snapshot.era:
                    raise LibraryError(
                        f"{self.folder / name}: an index from before the library was rebuilt", path=self.folder / name
                    )
                self._open_one(name, fingerprint(blocks, first, end, kind, bits))
            except (LibraryError, OSError) as error:
                yield self.folder / name, reason_of(error).removeprefix(f"{self.folder / name}: ")

    def bytes(self) -> int:
        """The size of all index files, whatever rows they are of."""
        return sum(self._size(name) for name in self._every_name())

    def _size(self, name: str) -> int:
        return inside.size(self.library, FOLDER, name)

    def _remove(self, name: str) -> None:
        with suppress(OSError):  # in use elsewhere, on some systems; harmless
            inside.remove(self.library, FOLDER, name)

    def _sweep(self, dry_run: bool) -> None:
        """Give back the space of files that were never finished, if nobody has written to them for long."""
        with suppress(OSError):
            for name in [] if dry_run else inside.names(self.library, FOLDER):
                index, _, rest = name.partition(SUFFIX)
                begun = _is_index(index + SUFFIX) and rest.startswith(".") and rest.endswith(UNFINISHED)
                if begun and time.time() - inside.look(self.library, FOLDER, name).st_mtime > ABANDONED_S:
                    self._remove(name)

    def _every_name(self) -> list[str]:
        try:
            return [name for name in inside.names(self.library, FOLDER) if _is_index(name)]
        except OSError:  # there are none, or none that can be read
            return []

    def _names(self) -> list[str]:
        """Those of our rows, by first row, and of those that begin together the longest first."""
        names = [name for name in self._every_name() if name.startswith(OF_PARTS) == self.parts]
        return sorted(names, key=lambda name: (_parsed(name)[0:2], -_parsed(name)[2]))

    def _ranges(self, blocks: Sequence[Block], era: int, kind: str, bits: int) -> list[tuple[int, int]]:
        """The runs of rows that sound files cover, one after another from row 0."""
        ranges: list[tuple[int, int]] = []
        for name in self._names():
            found = _parsed(name)
            if found[0] != era or found[3:] != (kind, bits) or found[1] != (ranges[-1][1] if ranges else 0):
                continue
            with suppress(LibraryError):
                if read_facts(self.folder / name).fingerprint == fingerprint(blocks, *found[1:]):
                    ranges.append((found[1], found[2]))
        return ranges

    def _look(self, snapshot: Snapshot) -> None:
        """Start opening what is new, unless that is under way or nothing is."""
        try:
            changed = inside.look(self.library, FOLDER).st_mtime_ns
        except OSError:
            return
        with self._lock:
            rows = sum(len(segment.ids) for segment in self._segments(snapshot)) if self._missed else 0
            seen = (changed, snapshot.era, rows)
            if seen == self._seen or (self._looking is not None and self._looking.is_alive()):
                return
            self._seen = seen
            found = (self._blocks(snapshot), snapshot.era)
            self._looking = threading.Thread(target=self._open, args=found, name="hashgrain-indexes", daemon=True)
            self._looking.start()

    def _open(self, blocks: Sequence[Block], era: int) -> None:
        opened: dict[str, tuple[str, Index]] = {}
        missed = False
        covered: dict[tuple[str, int], int] = {}
        for name in self._names():
            file_era, first, end, kind, bits = _parsed(name)
            if file_era != era or first < covered.get((kind, bits), 0):
                continue
            print_ = fingerprint(blocks, first, end, kind, bits)
            known = self._opened.get(name)
            try:
                opened[name] = known if known and known[0] == print_ else (print_, self._open_one(name, print_))
                covered[kind, bits] = end
            except (LibraryError, OSError):  # `hashgrain verify` names it, `hashgrain index` makes it anew
                missed = True
        self._opened, self._missed = opened, missed

    def _open_one(self, name: str, print_: str) -> Index:
        """A file that is what its name says, and an index of just these rows."""
        index = open_index(self.folder / name, print_)
        _, first, end, kind, bits = _parsed(name)
        if (index.first, index.first + index.n, index.path) != (first, end, kind) or not index.serves(bits):
            message = f"{self.folder / name}: not what its name says"
            raise LibraryDamagedError(message, path=self.folder / name, remedy=INDEX_ANEW)
        return index


def fingerprint(blocks: Iterable[Block], first: int, end: int, kind: str, bits: int) -> str:
    """Names exactly these rows by the checksums of their blocks."""
    inside = [(b.first_row, b.rows, b.crcs) for b in blocks if first <= b.first_row and b.end <= end]
    return hashlib.sha256(repr((kind, bits, first, end, inside)).encode()).hexdigest()


def _plan(kind: str, bits: int, first: int, end: int, blocks: Sequence[Block], era: int, parts: bool) -> IndexPlan:
    size = (tables_bytes if kind == "tables" else lists_bytes)(end - first, bits)
    return IndexPlan(kind, bits, first, end, size, fingerprint(blocks, first, end, kind, bits), era, parts)


def _replaces(plan: IndexPlan, name: str) -> bool:
    """Whether a file is of no use any more once the plan is carried out."""
    if name.startswith(OF_PARTS) != plan.parts:
        return False
    era, first, end, kind, bits = _parsed(name)
    same = era == plan.era and (kind, bits) == (plan.kind, plan.bits)
    return era < plan.era or (same and plan.first <= first and end <= plan.end)


def _parsed(name: str) -> tuple[int, int, int, str, int]:
    era, first, end, kind, bits = name.removeprefix(OF_PARTS).removesuffix(SUFFIX).split("-")
    return int(era), int(first), int(end), kind, int(bits)


def _is_index(name: str) -> bool:
    if not name.endswith(SUFFIX):
        return False
    try:
        return _parsed(name)[3] in ("tables", "lists")
    except ValueError:
        return False
