"""Segment files: codes and their item ids, append-only, memory-mapped, and checked before use.

LIBRARY/segments/000001.w00, .w01, ... and .ids: one file for each word of the codes, so that a search over a few bits
reads only the words that hold them. Those of parts lie beside them: p000001.w00. Each has a header of 64 bytes, then
one little-endian 64-bit number per row and nothing else. The catalogue says how much of a file counts, and has its
checksums. Files are extended and flushed before the catalogue says so. Later bytes are left from a batch that was never
committed, and are ignored.
"""

from __future__ import annotations

import itertools
import os
import re
import struct
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hashgrain import inside
from hashgrain.files import NotRegularError
from hashgrain.hamming.mapping import Mapping, map_file
from hashgrain.inside import LinkError
from hashgrain.store import disk
from hashgrain.store.blocks import Block
from hashgrain.store.errors import MendableError
from hashgrain.store.spaces import WHOLE, Space

FOLDER = "segments"
SEGMENT_ROWS = 1 << 20  # a segment that has this many rows is full
BLOCK_ROWS = 4096  # a block that has this many rows is full: checksums stay few, whatever the batches
HEADER = 64
ROW_BYTES = 8  # in every file
VERSION = 2
SEGMENT_FILE = re.compile(r"p?\d{6,}\.(w\d\d|ids)")  # the names of segment files


@dataclass(frozen=True, eq=False)
class Segment:
    """Rows of codes with the ids of their items; rows that are not alive are skipped.

    Snapshots share a segment, and its cached properties, as long as it does not change.
    """

    first_row: int
    ids: NDArray[np.int64]
    planes: tuple[NDArray[np.uint64], ...]  # word 0 of all codes, then word 1, ...
    alive: NDArray[np.bool_]
    files: tuple[Mapping, ...] = ()  # that hold the arrays

    def cut(self) -> bool:
        """Whether a file was cut short since it was mapped, which makes answers from it invalid."""
        return any(file.cut() for file in self.files)

    @cached_property
    def mask(self) -> NDArray[np.uint8] | None:
        """`alive` as bits, lowest first, in whole words of 64; None if all rows are alive."""
        if self.alive.all():
            return None
        bits = np.packbits(self.alive, bitorder="little")
        mask = np.pad(bits, (0, -len(bits) % 8))
        mask.flags.writeable = False
        return mask

    @cached_property
    def ascending(self) -> bool:
        """Whether the ids strictly increase from row to row; a replaced item's new row breaks that."""
        return bool((self.ids[1:] > self.ids[:-1]).all())

    def without(self, rows: NDArray[np.int64]) -> Segment:
        """A copy in which these rows (counted from its first) are dead."""
        alive = self.alive.copy()
        alive[rows] = False
        alive.flags.writeable = False
        remaining = replace(self, alive=alive)
        if "ascending" in vars(self):  # the ids are the same, so the cached value holds
            vars(remaining)["ascending"] = self.ascending
        return remaining


@dataclass(frozen=True)
class SegmentInfo:
    """The number of a segment, its first row, how many rows count, the words of a code, and its row space."""

    number: int
    first_row: int
    rows: int
    n_words: int
    space: Space = WHOLE

    @property
    def kinds(self) -> tuple[str, ...]:
        """The suffixes of its files, in the order of a block's checksums."""
        return (*(f"w{word:02d}" for word in range(self.n_words)), "ids")

    @property
    def size(self) -> int:
        """How many bytes of each file count."""
        return HEADER + self.rows * ROW_BYTES

    def file(self, library: Path, kind: str) -> Path:
        return library / FOLDER / f"{self.space.prefix}{self.number:06d}.{kind}"

    def header(self, kind: str) -> bytes:
        magic = f"HG{self.space.prefix + kind:<5}\n".encode()
        fields = struct.pack("<8sIIQQ", magic, VERSION, ROW_BYTES, self.number, self.first_row)
        return (fields + struct.pack("<I", zlib.crc32(fields))).ljust(HEADER, b"\0")


@dataclass(frozen=True, eq=False)
class MappedSegment:
    """The committed bytes of a segment in memory, headers included, in the order of its kinds."""

    info: SegmentInfo
    files: tuple[Mapping, ...]

    def arrays(self) -> tuple[NDArray[np.int64], tuple[NDArray[np.uint64], ...]]:
        """The ids, and the words."""
        *words, ids = (each.view for each in self.files)
        planes = (np.frombuffer(word, "<u8", offset=HEADER).astype(np.uint64, copy=False) for word in words)
        return np.frombuffer(ids, "<i8", offset=HEADER).astype(np.int64, copy=False), tuple(planes)


def group_blocks(blocks: Iterable[Block], space: Space, n_words: int) -> Iterator[tuple[SegmentInfo, list[Block]]]:
    """The segments of these blocks, which come in order."""
    for number, group in itertools.groupby(blocks, lambda block: block.segment):
        segment_blocks = list(group)
        rows = sum(block.rows for block in segment_blocks)
        yield SegmentInfo(number, segment_blocks[0].first_row, rows, n_words, space), segment_blocks


def map_segment(library: Path, info: SegmentInfo) -> MappedSegment:
    """Map the files of a segment; raise if one is missing, short or of another segment."""
    return MappedSegment(info, tuple(_map(library, info, kind) for kind in info.kinds))


def _map(library: Path, info: SegmentInfo, kind: str) -> Mapping:
    file = info.file(library, kind)
    descriptor = _open(library, file)
    try:
        if os.fstat(descriptor).st_size < info.size:
            raise _short_error(library, file, descriptor, info)
        mapped = map_file(descriptor, info.size)
    except ValueError:  # it was cut after the check
        raise _short_error(library, file, descriptor, info) from None
    finally:
        os.close(descriptor)
    if mapped.view[:HEADER] != info.header(kind):
        raise MendableError(library, file, "the header is damaged")
    return mapped


def _short_error(library: Path, file: Path, descriptor: int, info: SegmentInfo) -> MendableError:
    size = os.fstat(descriptor).st_size
    return MendableError(library, file, f"it has {size} bytes where {info.size} are committed")


def bad_blocks(library: Path, mapped: MappedSegment, blocks: Iterable[Block]) -> Iterator[MendableError]:
    """The blocks whose bytes do not match their checksums."""
    info = mapped.info
    for block in blocks:
        start = HEADER + (block.first_row - info.first_row) * ROW_BYTES
        end = start + block.rows * ROW_BYTES
        for kind, each, crc in zip(info.kinds, mapped.files, block.crcs, strict=True):
            if zlib.crc32(each.view[start:end]) != crc:
                reason = f"rows {block.first_row} to {block.end - 1} do not match their checksum"
                yield MendableError(library, info.file(library, kind), reason)


def is_full(block: Block) -> bool:
    return block.rows >= BLOCK_ROWS


def complete_blocks(blocks: Sequence[Block]) -> list[Block]:
    """The blocks that no append extends any more: all but the last, and the last once it is full."""
    return [*blocks[:-1], *(last for last in blocks[-1:] if is_full(last))]


def append(library: Path, info: SegmentInfo, last: Block | None, ids: Sequence[int], codes: bytes) -> list[Block]:
    """Extend a segment durably; returns the blocks to record. `info` has the rows that count so far, `last` is its last
    block.

    Rows are written at the recorded end, not at the end of the file, which may have the rest of a failed batch. A
    segment without rows is created. `codes` are whole rows, one code after the other.
    """
    if inside.make_folder(library, FOLDER):
        disk.sync_folder(library)
    words = np.frombuffer(codes, "<u8").reshape(len(ids), info.n_words)
    columns = [*(word.tobytes() for word in words.T), struct.pack(f"<{len(ids)}q", *ids)]
    for kind, data in zip(info.kinds, columns, strict=True):
        if info.rows:
            _extend(library, info, kind, data)
        else:
            _create(library, info.file(library, kind).name, info.header(kind) + data)
    if not info.rows:
        disk.sync_folder(library / FOLDER)
    if last is None or is_full(last):
        last = Block(info.number, info.first_row + info.rows, 0, (0,) * len(columns))
    crcs = tuple(zlib.crc32(data, crc) for data, crc in zip(columns, last.crcs, strict=True))
    return [replace(last, rows=last.rows + len(ids), crcs=crcs)]


def _extend(library: Path, info: SegmentInfo, kind: str, data: bytes) -> None:
    file = info.file(library, kind)
    descriptor = _open(library, file, os.O_RDWR)
    try:
        if os.fstat(descriptor).st_size < info.size:
            raise MendableError(library, file, "the file is shorter than the catalogue says")
        if os.read(descriptor, HEADER) != info.header(kind):
            raise MendableError(library, file, "the header is damaged")
        disk.write_at(descriptor, data, info.size)
        disk.sync(descriptor)
    finally:
        os.close(descriptor)


def _open(library: Path, file: Path, flags: int = os.O_RDONLY) -> int:
    try:
        return inside.open_file(library, FOLDER, file.name, flags=flags)
    except FileNotFoundError as error:
        raise MendableError(library, file, "the file is missing") from error
    except (LinkError, NotRegularError) as error:
        raise MendableError(library, file, str(error.strerror)) from error


def _create(library: Path, name: str, data: bytes) -> None:
    """Create a file. Anything that has its name was never committed, and is not ours if it is a link."""
    if not inside.is_file(library, FOLDER, name):
        with suppress(FileNotFoundError):
            inside.remove(library, FOLDER, name)
    descriptor = inside.open_file(library, FOLDER, name, flags=os.O_RDWR | os.O_CREAT | os.O_TRUNC)
    try:
        disk.write_at(descriptor, data, 0)
        disk.sync(descriptor)
    finally:
        os.close(descriptor)


@dataclass(frozen=True)
class Leftover:
    """Bytes or files in the segments folder that the catalogue does not count."""

    file: Path
    committed_bytes: int | None  # None if the catalogue does not name the file at all


def leftovers(library: Path, committed: Iterable[SegmentInfo]) -> list[Leftover]:
    """The files and bytes that a crash, a failed batch or a rebuild left."""
    sizes = {info.file(library, kind).name: info.size for info in committed for kind in info.kinds}
    result = []
    for name in inside.names(library, FOLDER):
        size = inside.size(library, FOLDER, name)
        if SEGMENT_FILE.fullmatch(name) and inside.is_file(library, FOLDER, name) and size > sizes.get(name, -1):
            result.append(Leftover(library / FOLDER / name, sizes.get(name)))
    return result


def remove_leftovers(library: Path, committed: Iterable[SegmentInfo]) -> None:
    """Free the space of uncommitted bytes. A failure is harmless, since readers ignore them."""
    for leftover in leftovers(library, committed):
        with suppress(OSError):
            if leftover.committed_bytes is None:
                inside.remove(library, FOLDER, leftover.file.name)
                continue
            descriptor = inside.open_file(library, FOLDER, leftover.file.name, flags=os.O_RDWR)
            try:
                os.ftruncate(descriptor, leftover.committed_bytes)
            finally:
                os.close(descriptor)
