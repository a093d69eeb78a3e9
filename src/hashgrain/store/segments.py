"""Segment files: code rows and their item ids, append-only, memory-mapped, checked before they are believed.

LIBRARY/segments/000001.codes and .ids: a header of 64 bytes, then rows of little-endian 64-bit numbers and
nothing else. How much of a file counts, and its checksums, is said by the catalogue. Files are extended and
flushed before the catalogue says so; what lies beyond is the rest of a batch that never was, and is ignored.
"""

from __future__ import annotations

import itertools
import mmap
import os
import struct
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hashgrain.codes import Words
from hashgrain.store import disk
from hashgrain.store.catalogue import Block
from hashgrain.store.trouble import MendableError

FOLDER = "segments"
SEGMENT_ROWS = 1 << 20  # a segment that has this many rows is full
BLOCK_ROWS = 4096  # a block that has this many rows is full: checksums stay few, whatever the batches
HEADER = 64
VERSION = 1
KINDS = {"codes": b"HGcodes\n", "ids": b"HGids  \n"}


@dataclass(frozen=True, eq=False)
class Segment:
    """Rows of codes with the ids of their items; rows that are not alive are to be skipped."""

    ids: NDArray[np.int64]
    words: Words
    alive: NDArray[np.bool_]


@dataclass(frozen=True)
class Place:
    """Where a segment lies: its number, its first row, how many rows count, how wide a code is."""

    number: int
    first_row: int
    rows: int
    n_words: int

    def file(self, library: Path, kind: str) -> Path:
        return library / FOLDER / f"{self.number:06d}.{kind}"

    def width(self, kind: str) -> int:
        return 8 * (self.n_words if kind == "codes" else 1)

    def size(self, kind: str) -> int:
        return HEADER + self.rows * self.width(kind)

    def header(self, kind: str) -> bytes:
        fields = struct.pack("<8sIIQQ", KINDS[kind], VERSION, self.width(kind), self.number, self.first_row)
        return (fields + struct.pack("<I", zlib.crc32(fields))).ljust(HEADER, b"\0")


@dataclass(frozen=True, eq=False)
class Mapped:
    """The committed bytes of a segment in memory, header included."""

    place: Place
    codes: memoryview
    ids: memoryview

    def arrays(self) -> tuple[NDArray[np.int64], Words]:
        ids = np.frombuffer(self.ids, "<i8", offset=HEADER)
        words = np.frombuffer(self.codes, "<u8", offset=HEADER).reshape(-1, self.place.n_words)
        return ids.astype(np.int64, copy=False), words.astype(np.uint64, copy=False)


def places(blocks: Iterable[Block], n_words: int) -> Iterator[tuple[Place, list[Block]]]:
    """The segments that blocks (in order) make up."""
    for number, group in itertools.groupby(blocks, lambda block: block.segment):
        members = list(group)
        rows = sum(block.rows for block in members)
        yield Place(number, members[0].first_row, rows, n_words), members


def map_segment(library: Path, place: Place) -> Mapped:
    """Map both files, refusing what is missing, short or not the segment it should be."""
    return Mapped(place, _map(library, place, "codes"), _map(library, place, "ids"))


def _map(library: Path, place: Place, kind: str) -> memoryview:
    file = place.file(library, kind)
    try:
        descriptor = os.open(file, os.O_RDONLY | getattr(os, "O_BINARY", 0))
    except FileNotFoundError as error:
        raise MendableError(library, file, "the file is missing") from error
    try:
        size = os.fstat(descriptor).st_size
        if size < place.size(kind):
            raise MendableError(library, file, f"it has {size} bytes where {place.size(kind)} are committed")
        view = memoryview(mmap.mmap(descriptor, place.size(kind), access=mmap.ACCESS_READ))
    finally:
        os.close(descriptor)
    if view[:HEADER] != place.header(kind):
        raise MendableError(library, file, "the header is damaged")
    return view


def bad_blocks(library: Path, mapped: Mapped, blocks: Iterable[Block]) -> Iterator[MendableError]:
    """The blocks whose bytes do not match their checksums."""
    place = mapped.place
    for block in blocks:
        for kind, view, crc in (("codes", mapped.codes, block.codes_crc), ("ids", mapped.ids, block.ids_crc)):
            width = place.width(kind)
            start = HEADER + (block.first_row - place.first_row) * width
            if zlib.crc32(view[start : start + block.rows * width]) != crc:
                reason = f"rows {block.first_row} to {block.end - 1} do not match their checksum"
                yield MendableError(library, place.file(library, kind), reason)


def append(library: Path, place: Place, last: Block | None, ids: Sequence[int], codes: bytes) -> list[Block]:
    """Extend a segment, durably; the blocks to record. `place` is what counts so far, `last` its last block.

    Written at the recorded end and not at the end of the file, which may hold the rest of a failed batch.
    A segment without rows yet is created.
    """
    folder = library / FOLDER
    if not folder.is_dir():
        folder.mkdir()
        disk.sync_folder(library)
    packed = struct.pack(f"<{len(ids)}q", *ids)
    for kind, data in (("codes", codes), ("ids", packed)):
        if place.rows:
            _extend(library, place, kind, data)
        else:
            _create(place.file(library, kind), place.header(kind) + data)
    if not place.rows:
        disk.sync_folder(folder)
    if last is not None and last.rows < BLOCK_ROWS:
        grown = replace(last, rows=last.rows + len(ids), codes_crc=zlib.crc32(codes, last.codes_crc))
        return [replace(grown, ids_crc=zlib.crc32(packed, last.ids_crc))]
    first = place.first_row + place.rows
    return [Block(place.number, first, len(ids), zlib.crc32(codes), zlib.crc32(packed))]


def _extend(library: Path, place: Place, kind: str, data: bytes) -> None:
    file = place.file(library, kind)
    try:
        descriptor = os.open(file, os.O_RDWR | getattr(os, "O_BINARY", 0))
    except FileNotFoundError as error:
        raise MendableError(library, file, "the file is missing") from error
    try:
        if os.fstat(descriptor).st_size < place.size(kind):
            raise MendableError(library, file, "the file is shorter than the catalogue says")
        if os.read(descriptor, HEADER) != place.header(kind):
            raise MendableError(library, file, "the header is damaged")
        disk.write_at(descriptor, data, place.size(kind))
        disk.sync(descriptor)
    finally:
        os.close(descriptor)


def _create(file: Path, data: bytes) -> None:
    """A new file; whatever has its name was never committed."""
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_TRUNC | getattr(os, "O_BINARY", 0), 0o666)
    try:
        disk.write_at(descriptor, data, 0)
        disk.sync(descriptor)
    finally:
        os.close(descriptor)


@dataclass(frozen=True)
class Extra:
    """Bytes or files in the segments folder that the catalogue does not count."""

    file: Path
    keep: int | None  # how many bytes of it are committed, None if it is not named at all


def extras(library: Path, committed: Iterable[Place]) -> list[Extra]:
    """What a crash, a failed batch or a rebuild left behind."""
    sizes = {place.file(library, kind).name: place.size(kind) for place in committed for kind in KINDS}
    try:
        files = sorted((library / FOLDER).iterdir())
    except FileNotFoundError:
        return []
    return [
        Extra(file, sizes.get(file.name))
        for file in files
        if file.suffix[1:] in KINDS and file.stat().st_size > sizes.get(file.name, -1)
    ]


def tidy(library: Path, committed: Iterable[Place]) -> None:
    """Give back the space of what is not committed. Failing is harmless: readers do not look there."""
    for extra in extras(library, committed):
        with suppress(OSError):
            if extra.keep is None:
                extra.file.unlink()
            else:
                os.truncate(extra.file, extra.keep)
