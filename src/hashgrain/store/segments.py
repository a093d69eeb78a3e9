"""Segment files: codes and their item ids, append-only, memory-mapped, checked before they are believed.

LIBRARY/segments/000001.w00, .w01, ... and .ids: a file for each word of the codes, so that who asks for a few
bits reads only the words that hold them. Those of parts lie beside them: p000001.w00. Each has a header of 64 bytes,
then a little-endian 64-bit number a row and nothing else. How much of a file counts, and its checksums, is said by the
catalogue. Files are extended and flushed before the catalogue says so; what lies beyond is the rest of a batch that
never was, and is ignored.
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
WIDTH = 8  # bytes a row, in every file
VERSION = 2
OURS = re.compile(r"p?\d{6,}\.(w\d\d|ids)")  # the names of segment files


@dataclass(frozen=True, eq=False)
class Segment:
    """Rows of codes with the ids of their items; rows that are not alive are to be skipped.

    Handed on from one snapshot to the next while it stays as it is, and what it worked out about itself with it.
    """

    first_row: int
    ids: NDArray[np.int64]
    planes: tuple[NDArray[np.uint64], ...]  # word 0 of all codes, then word 1, ...
    alive: NDArray[np.bool_]
    files: tuple[Mapping, ...] = ()  # what the arrays lie in

    def cut(self) -> bool:
        """Whether a file was cut short since it was mapped: then answers from it are none."""
        return any(file.cut() for file in self.files)

    @cached_property
    def mask(self) -> NDArray[np.uint8] | None:
        """`alive` as bits, lowest first, in whole words of 64; None where all rows are alive."""
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
        """The segment after these rows (counted from its first) died. This one stays as it is."""
        alive = self.alive.copy()
        alive[rows] = False
        alive.flags.writeable = False
        left = replace(self, alive=alive)
        if "ascending" in vars(self):  # the ids are the same, so that needs no second look
            vars(left)["ascending"] = self.ascending
        return left


@dataclass(frozen=True)
class Place:
    """Where a segment lies: its number, its first row, how many rows count, how many words a code has, of which row
    space it is."""

    number: int
    first_row: int
    rows: int
    n_words: int
    space: Space = WHOLE

    @property
    def kinds(self) -> tuple[str, ...]:
        """Its files by suffix, in the order of a block's checksums."""
        return (*(f"w{word:02d}" for word in range(self.n_words)), "ids")

    @property
    def size(self) -> int:
        """How many bytes of each file count."""
        return HEADER + self.rows * WIDTH

    def file(self, library: Path, kind: str) -> Path:
        return library / FOLDER / f"{self.space.prefix}{self.number:06d}.{kind}"

    def header(self, kind: str) -> bytes:
        magic = f"HG{self.space.prefix + kind:<5}\n".encode()
        fields = struct.pack("<8sIIQQ", magic, VERSION, WIDTH, self.number, self.first_row)
        return (fields + struct.pack("<I", zlib.crc32(fields))).ljust(HEADER, b"\0")


@dataclass(frozen=True, eq=False)
class Mapped:
    """The committed bytes of a segment in memory, headers included, in the order of its kinds."""

    place: Place
    files: tuple[Mapping, ...]

    def arrays(self) -> tuple[NDArray[np.int64], tuple[NDArray[np.uint64], ...]]:
        """The ids, and the words."""
        *words, ids = (each.view for each in self.files)
        planes = (np.frombuffer(word, "<u8", offset=HEADER).astype(np.uint64, copy=False) for word in words)
        return np.frombuffer(ids, "<i8", offset=HEADER).astype(np.int64, copy=False), tuple(planes)


def places(blocks: Iterable[Block], space: Space, n_words: int) -> Iterator[tuple[Place, list[Block]]]:
    """The segments that blocks (in order) make up."""
    for number, group in itertools.groupby(blocks, lambda block: block.segment):
        members = list(group)
        rows = sum(block.rows for block in members)
        yield Place(number, members[0].first_row, rows, n_words, space), members


def map_segment(library: Path, place: Place) -> Mapped:
    """Map its files, refusing what is missing, short or not the segment it should be."""
    return Mapped(place, tuple(_map(library, place, kind) for kind in place.kinds))


def _map(library: Path, place: Place, kind: str) -> Mapping:
    file = place.file(library, kind)
    descriptor = _open(library, file)
    try:
        if os.fstat(descriptor).st_size < place.size:
            raise _short(library, file, descriptor, place)
        mapped = map_file(descriptor, place.size)
    except ValueError:  # it was cut since that look
        raise _short(library, file, descriptor, place) from None
    finally:
        os.close(descriptor)
    if mapped.view[:HEADER] != place.header(kind):
        raise MendableError(library, file, "the header is damaged")
    return mapped


def _short(library: Path, file: Path, descriptor: int, place: Place) -> MendableError:
    size = os.fstat(descriptor).st_size
    return MendableError(library, file, f"it has {size} bytes where {place.size} are committed")


def bad_blocks(library: Path, mapped: Mapped, blocks: Iterable[Block]) -> Iterator[MendableError]:
    """The blocks whose bytes do not match their checksums."""
    place = mapped.place
    for block in blocks:
        start = HEADER + (block.first_row - place.first_row) * WIDTH
        end = start + block.rows * WIDTH
        for kind, each, crc in zip(place.kinds, mapped.files, block.crcs, strict=True):
            if zlib.crc32(each.view[start:end]) != crc:
                reason = f"rows {block.first_row} to {block.end - 1} do not match their checksum"
                yield MendableError(library, place.file(library, kind), reason)


def full(block: Block) -> bool:
    return block.rows >= BLOCK_ROWS


def sealed(blocks: Sequence[Block]) -> list[Block]:
    """Those of all blocks that no append extends any more: all but the last, and the last once it is full."""
    return [*blocks[:-1], *(last for last in blocks[-1:] if full(last))]


def append(library: Path, place: Place, last: Block | None, ids: Sequence[int], codes: bytes) -> list[Block]:
    """Extend a segment, durably; the blocks to record. `place` is what counts so far, `last` its last block.

    Written at the recorded end and not at the end of the file, which may hold the rest of a failed batch.
    A segment without rows yet is created. `codes` are whole rows, one code after the other.
    """
    if inside.make_folder(library, FOLDER):
        disk.sync_folder(library)
    words = np.frombuffer(codes, "<u8").reshape(len(ids), place.n_words)
    columns = [*(word.tobytes() for word in words.T), struct.pack(f"<{len(ids)}q", *ids)]
    for kind, data in zip(place.kinds, columns, strict=True):
        if place.rows:
            _extend(library, place, kind, data)
        else:
            _create(library, place.file(library, kind).name, place.header(kind) + data)
    if not place.rows:
        disk.sync_folder(library / FOLDER)
    if last is None or full(last):
        last = Block(place.number, place.first_row + place.rows, 0, (0,) * len(columns))
    crcs = tuple(zlib.crc32(data, crc) for data, crc in zip(columns, last.crcs, strict=True))
    return [replace(last, rows=last.rows + len(ids), crcs=crcs)]


def _extend(library: Path, place: Place, kind: str, data: bytes) -> None:
    file = place.file(library, kind)
    descriptor = _open(library, file, os.O_RDWR)
    try:
        if os.fstat(descriptor).st_size < place.size:
            raise MendableError(library, file, "the file is shorter than the catalogue says")
        if os.read(descriptor, HEADER) != place.header(kind):
            raise MendableError(library, file, "the header is damaged")
        disk.write_at(descriptor, data, place.size)
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
    """A new file; whatever has its name was never committed, and is no file of ours if it is a link."""
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
class Extra:
    """Bytes or files in the segments folder that the catalogue does not count."""

    file: Path
    keep: int | None  # how many bytes of it are committed, None if it is not named at all


def extras(library: Path, committed: Iterable[Place]) -> list[Extra]:
    """What a crash, a failed batch or a rebuild left behind."""
    sizes = {place.file(library, kind).name: place.size for place in committed for kind in place.kinds}
    found = []
    for name in inside.names(library, FOLDER):
        size = inside.size(library, FOLDER, name)
        if OURS.fullmatch(name) and inside.is_file(library, FOLDER, name) and size > sizes.get(name, -1):
            found.append(Extra(library / FOLDER / name, sizes.get(name)))
    return found


def tidy(library: Path, committed: Iterable[Place]) -> None:
    """Give back the space of what is not committed. Failing is harmless: readers do not look there."""
    for extra in extras(library, committed):
        with suppress(OSError):
            if extra.keep is None:
                inside.remove(library, FOLDER, extra.file.name)
                continue
            descriptor = inside.open_file(library, FOLDER, extra.file.name, flags=os.O_RDWR)
            try:
                os.ftruncate(descriptor, extra.keep)
            finally:
                os.close(descriptor)
