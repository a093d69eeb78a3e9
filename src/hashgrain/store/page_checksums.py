"""A checksum for every page of the catalogue: SQLite keeps none, and a flipped bit there changes what a filter finds.

Items and codes carry checksums of their own, so what is fetched by id is sound or an error. A filter and a look-up by
path or content answer from the pages alone: one bit of `jpeg`, and the picture is not found. So before they are asked,
every page of the catalogue is read once and compared with LIBRARY/catalogue.sums, and again when it changed.

The sums are written after SQLite's log was folded into the catalogue and before anything new is logged. Until then the
pages in the log are the newer ones; SQLite checks the log's frames by itself, and those pages are left out here.
"""

from __future__ import annotations

import os
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hashgrain import inside
from hashgrain.hamming import pool
from hashgrain.hamming.checksums import page_sums
from hashgrain.store import catalogue_file, disk
from hashgrain.store.catalogue_file import NAME as CATALOGUE
from hashgrain.store.errors import MendableError, told

NAME = "catalogue.sums"
LOG = CATALOGUE + "-wal"
MAGIC = b"HGsums1\n"
HEADER = 64
PAGE = 4096
AT_ONCE = 256  # pages read at a time
LOG_HEADER, FRAME = 32, 24  # bytes of SQLite's log before its frames, and of a frame before its page
LOG_MAGIC = (0x377F0682, 0x377F0683)
LOOKS = 4  # a writer may be folding its log in just now
Sums = NDArray[np.uint32]


def update(library: Path, *, renew: bool = False) -> None:
    """After the log was folded in, by the one writer: the sums of the pages in it, and of those that have none.

    Written in place: until they are on the disk the log stands, and its pages are left out. `renew` writes all of them,
    of a catalogue that was checked by other means.
    """
    pages = _pages(library)
    old = np.empty(0, np.uint32) if renew else read(library)
    changed = pages_of_log(library) | set(range(len(old), pages))
    made = not inside.is_file(library, NAME)
    descriptor = inside.open_file(library, NAME, flags=os.O_RDWR | os.O_CREAT)
    try:
        if not len(old):
            disk.write_at(descriptor, MAGIC.ljust(HEADER, b"\0"), 0)
        for start, sums in runs(library, sorted(page for page in changed if page < pages)):
            disk.write_at(descriptor, sums.astype("<u4").tobytes(), HEADER + 4 * start)
        os.ftruncate(descriptor, HEADER + 4 * pages)
        disk.sync(descriptor)
    finally:
        os.close(descriptor)
    if made:
        disk.sync_folder(library)


def forget(library: Path) -> None:
    """Pages go unchecked until the next `update`, which writes all sums anew."""
    with suppress(FileNotFoundError):
        inside.remove(library, NAME)
        disk.sync_folder(library)


def unlike(library: Path) -> bool:
    """Whether the catalogue, without SQLite's log, is other than its sums say, or they are missing."""
    right = read(library)
    pages = list(range(_pages(library)))
    found = [sums for _, sums in runs(library, pages)]
    return len(right) == 0 or not np.array_equal(np.concatenate(found), right)


def read(library: Path) -> Sums:
    """The sum of each page, in order; none where there is no file of them."""
    try:
        descriptor = inside.open_file(library, NAME)
    except FileNotFoundError:
        return np.empty(0, np.uint32)
    with open(descriptor, "rb") as file:
        content = file.read(HEADER + 4 * (_pages(library) + 1))
    if not content.startswith(MAGIC) or len(content) < HEADER:
        return np.empty(0, np.uint32)
    return np.frombuffer(content, "<u4", (len(content) - HEADER) // 4, HEADER).astype(np.uint32)


def _pages(library: Path) -> int:
    """How many pages the catalogue has. What cannot be looked at is an error, not an empty catalogue."""
    return inside.look(library, CATALOGUE).st_size // PAGE


def pages_of_log(library: Path) -> set[int]:
    """The pages, counted from 0, that stand in SQLite's log since it was begun."""
    found: set[int] = set()
    try:
        descriptor = inside.open_file(library, LOG)
    except FileNotFoundError:
        return found
    with open(descriptor, "rb") as file:
        head = file.read(LOG_HEADER)
        if len(head) < LOG_HEADER or struct.unpack(">I", head[:4])[0] not in LOG_MAGIC:
            return found
        while len(frame := file.read(FRAME)) == FRAME and frame[8:16] == head[16:24]:  # else of an earlier log
            found.add(struct.unpack(">I", frame[:4])[0] - 1)
            file.seek(PAGE, os.SEEK_CUR)
    return found


def runs(library: Path, pages: list[int]) -> Iterator[tuple[int, Sums]]:
    """Runs of the sorted pages that follow each other: the first, and the sums of all. On all cores."""
    starts: list[int] = []
    ends: list[int] = []
    for page in pages:
        if starts and page == ends[-1] and page - starts[-1] < AT_ONCE:
            ends[-1] = page + 1
        else:
            starts.append(page)
            ends.append(page + 1)
    with catalogue_file.opened(library) as descriptor:
        tasks = [partial(_sums, descriptor, start, end) for start, end in zip(starts, ends, strict=True)]
        yield from zip(starts, pool.run(tasks, pool.cores()), strict=True)


def _sums(descriptor: int, start: int, end: int) -> Sums:
    return page_sums(catalogue_file.read_at(descriptor, (end - start) * PAGE, start * PAGE), PAGE)


class PageCheck:
    """What one process has checked of a catalogue: every page once, and again when its sum changed."""

    def __init__(self, library: Path) -> None:
        self.library = library
        self._checked: NDArray[np.int64] = np.empty(0, np.int64)  # the sum of each page, -1 where it was not checked
        self._file = 0
        self._stamp: tuple[int, ...] = ()
        self._lock = threading.Lock()

    def check(self) -> None:
        """Raise where a page is not what was written. Nothing changed since the last time: two looks at files."""
        with told(self.library):
            if self._now() != self._stamp:
                self._check()

    def _check(self) -> None:
        with self._lock:
            for look in range(LOOKS):
                time.sleep(0.01 * look)
                stamp = self._now()
                bad = self._look()
                if not bad:
                    self._stamp = stamp
                    return
            more = f", nor do {len(bad) - 1} more" if bad[1:] else ""
            reason = f"page {bad[0] + 1} does not match its checksum{more}"
            raise MendableError(self.library, self.library / CATALOGUE, reason)

    def _look(self) -> list[int]:
        """The pages that do not match; sums of those that do are remembered."""
        try:
            inside.look(self.library, NAME)
        except FileNotFoundError:  # of format 2, or until the next writer
            return []
        file = inside.look(self.library, CATALOGUE).st_ino
        if file != self._file:  # put in the place of the one that was checked
            self._checked, self._file = np.empty(0, np.int64), file
        in_log = pages_of_log(self.library)
        sums = read(self.library).astype(np.int64)
        pages = _pages(self.library)
        known = np.full(max(pages, len(sums)), -1)
        known[: len(self._checked)] = self._checked[: len(known)]
        right = np.full(len(known), -2)
        right[: len(sums)] = sums
        wanted = [page for page in np.flatnonzero(known != right).tolist() if page not in in_log]
        for start, found in runs(self.library, wanted):
            known[start : start + len(found)] = found
        known[list(in_log & set(range(len(known))))] = -1
        late = pages_of_log(self.library)
        bad = [page for page in wanted if known[page] != right[page] and page not in late]
        known[bad] = -1
        self._checked = known
        return bad

    def _now(self) -> tuple[int, ...]:
        stamps: list[int] = []
        for name in (CATALOGUE, NAME):
            try:
                found = inside.look(self.library, name)
                stamps += [found.st_mtime_ns, found.st_size, found.st_ino]
            except FileNotFoundError:
                stamps.append(0)
        return tuple(stamps)
