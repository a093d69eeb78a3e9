"""A checksum for every page of the catalogue: SQLite has none, and a flipped bit there changes what a filter matches.

Items and codes have checksums of their own, so a lookup by id gives sound data or an error. A filter and a lookup by
path or content answer from the pages alone: with one flipped bit in `jpeg`, the picture is not found. So before such a
query, every page of the catalogue is read once and compared with LIBRARY/catalogue.sums, and again after it changes.

The checksums are written after SQLite's log is folded into the catalogue and before anything new is logged. Until then
the pages in the log are newer. SQLite checks the frames of its log itself, so those pages are skipped here.
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
from hashgrain.store.errors import MendableError, translate_errors

NAME = "catalogue.sums"
TEMPORARY_NAME = NAME + ".making"  # until all checksums are in it
SINCE = 3  # the format: a program of format 2 changes pages without their checksums
WAL = CATALOGUE + "-wal"
MAGIC = b"HGsums1\n"
HEADER = 64
PAGE = 4096
RUN_PAGES = 256  # pages read at a time
LOG_HEADER, FRAME = 32, 24  # bytes before the frames of SQLite's log, and before the page of a frame
LOG_MAGIC = (0x377F0682, 0x377F0683)
ATTEMPTS = 4  # a writer may be folding its log in at the same time
Checksums = NDArray[np.uint32]


def update(library: Path, *, renew: bool = False) -> None:
    """Write the checksums of the pages in SQLite's log, and of pages that have none. The writer calls it after folding.

    They are written in place: until they are on the disk the log remains, and its pages are skipped. `renew` writes all
    checksums, for a catalogue that was checked by other means.
    """
    pages = _pages(library)
    old = np.empty(0, np.uint32) if renew else read(library)
    if not len(old):
        _create(library, pages)
        return
    changed = pages_in_wal(library) | set(range(len(old), pages))
    descriptor = inside.open_file(library, NAME, flags=os.O_RDWR)
    try:
        _write(library, descriptor, sorted(page for page in changed if page < pages))
        os.ftruncate(descriptor, HEADER + 4 * pages)
        disk.sync(descriptor)
    finally:
        os.close(descriptor)


def _create(library: Path, pages: int) -> None:
    """Write all checksums to a new file. It gets its name last: pages without a checksum would seem damaged."""
    with suppress(FileNotFoundError):
        inside.remove(library, TEMPORARY_NAME)
    descriptor = inside.open_file(library, TEMPORARY_NAME, flags=os.O_RDWR | os.O_CREAT | os.O_EXCL)
    try:
        disk.write_at(descriptor, MAGIC.ljust(HEADER, b"\0"), 0)
        _write(library, descriptor, list(range(pages)))
        disk.sync(descriptor)
    finally:
        os.close(descriptor)
    inside.rename(library, (), TEMPORARY_NAME, NAME)
    disk.sync_folder(library)


def _write(library: Path, descriptor: int, pages: list[int]) -> None:
    for start, checksums in checksums_of(library, pages):
        disk.write_at(descriptor, checksums.astype("<u4").tobytes(), HEADER + 4 * start)


def forget(library: Path) -> None:
    """Leave pages unchecked until the next `update`, which writes all checksums."""
    with suppress(FileNotFoundError):
        inside.remove(library, NAME)
        disk.sync_folder(library)


def differs(library: Path) -> bool:
    """Whether the catalogue, without SQLite's log, differs from its checksums, or they are missing."""
    expected = read(library)
    pages = list(range(_pages(library)))
    actual = [checksums for _, checksums in checksums_of(library, pages)]
    return len(expected) == 0 or not np.array_equal(np.concatenate(actual), expected)


def read(library: Path) -> Checksums:
    """The checksum of each page, in order; empty if there is no file of them."""
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
    """How many pages the catalogue has. A failure is an error, not an empty catalogue."""
    return inside.look(library, CATALOGUE).st_size // PAGE


def pages_in_wal(library: Path) -> set[int]:
    """The pages, counted from 0, that SQLite's log has."""
    pages: set[int] = set()
    try:
        descriptor = inside.open_file(library, WAL)
    except FileNotFoundError:
        return pages
    with open(descriptor, "rb") as file:
        head = file.read(LOG_HEADER)
        if len(head) < LOG_HEADER or struct.unpack(">I", head[:4])[0] not in LOG_MAGIC:
            return pages
        while len(frame := file.read(FRAME)) == FRAME and frame[8:16] == head[16:24]:  # else of an earlier log
            pages.add(struct.unpack(">I", frame[:4])[0] - 1)
            file.seek(PAGE, os.SEEK_CUR)
    return pages


def checksums_of(library: Path, pages: list[int]) -> Iterator[tuple[int, Checksums]]:
    """For each run of consecutive pages, of sorted pages: the first, and the checksums of all. On all cores."""
    starts: list[int] = []
    ends: list[int] = []
    for page in pages:
        if starts and page == ends[-1] and page - starts[-1] < RUN_PAGES:
            ends[-1] = page + 1
        else:
            starts.append(page)
            ends.append(page + 1)
    with catalogue_file.shared_descriptor(library) as descriptor:
        tasks = [partial(_run_checksums, descriptor, start, end) for start, end in zip(starts, ends, strict=True)]
        yield from zip(starts, pool.run(tasks, pool.cores()), strict=True)


def _run_checksums(descriptor: int, start: int, end: int) -> Checksums:
    return page_sums(catalogue_file.read_at(descriptor, (end - start) * PAGE, start * PAGE), PAGE)


class PageCheck:
    """The pages of a catalogue that one process has checked: every page once, and again after its checksum changes."""

    def __init__(self, library: Path) -> None:
        self.library = library
        self._checked: NDArray[np.int64] = np.empty(0, np.int64)  # the checksum of each page, -1 if not checked
        self._file = 0
        self._stamp: tuple[int, ...] = ()
        self._lock = threading.Lock()

    def check(self) -> None:
        """Raise if a page does not match its checksum. If nothing changed, it only looks at the stamps of two files."""
        with translate_errors(self.library):
            if self._file_stamps() != self._stamp:
                self._check()

    def _check(self) -> None:
        with self._lock:
            for attempt in range(ATTEMPTS):
                time.sleep(0.01 * attempt)
                stamp = self._file_stamps()
                bad = self._bad_pages()
                if not bad:
                    self._stamp = stamp
                    return
            more = f", nor do {len(bad) - 1} more" if bad[1:] else ""
            reason = f"page {bad[0] + 1} does not match its checksum{more}"
            raise MendableError(self.library, self.library / CATALOGUE, reason)

    def _bad_pages(self) -> list[int]:
        """The pages that do not match; the checksums of those that do are cached."""
        try:
            inside.look(self.library, NAME)
        except FileNotFoundError:  # of format 2, or until the next writer
            return []
        file = inside.look(self.library, CATALOGUE).st_ino
        if file != self._file:  # the file that was checked was replaced
            self._checked, self._file = np.empty(0, np.int64), file
        in_wal = pages_in_wal(self.library)
        checksums = read(self.library).astype(np.int64)
        pages = _pages(self.library)
        known = np.full(max(pages, len(checksums)), -1)
        known[: len(self._checked)] = self._checked[: len(known)]
        expected = np.full(len(known), -2)
        expected[: len(checksums)] = checksums
        unchecked = [page for page in np.flatnonzero(known != expected).tolist() if page not in in_wal]
        for start, checksums_read in checksums_of(self.library, unchecked):
            known[start : start + len(checksums_read)] = checksums_read
        known[list(in_wal & set(range(len(known))))] = -1
        now_in_wal = pages_in_wal(self.library)
        bad = [page for page in unchecked if known[page] != expected[page] and page not in now_in_wal]
        known[bad] = -1
        self._checked = known
        return bad

    def _file_stamps(self) -> tuple[int, ...]:
        stamps: list[int] = []
        for name in (CATALOGUE, NAME):
            try:
                status = inside.look(self.library, name)
                stamps += [status.st_mtime_ns, status.st_size, status.st_ino]
            except FileNotFoundError:
                stamps.append(0)
        return tuple(stamps)
