"""Reading tar archives that nobody vouches for, member after member, in memory that does not grow.

`tarfile` reads a long name or a pax header of any size, keeps every member it has seen, and follows chains of
headers by recursion. Here a header has at most MAX_HEADER bytes, nothing is kept, and an archive is unpacked up to a
limit that follows from its own size. Links, devices, folders and sparse files are passed over: no name in an archive
leads anywhere.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, cast

from hashgrain.files import open_regular

BLOCK = 512
MAX_HEADER = 1 << 20  # of one pax header; extended attributes are kept in them
# What a compressed archive may unpack to. Pictures hardly shrink; whoever packs a petabyte of zeros costs us this.
UNPACKED_AT_LEAST = 1 << 30
UNPACKED_RATIO = 100
# What a damaged archive makes the decompressors and the parser here raise. bz2 raises OSError and ValueError.
DAMAGED = (OSError, EOFError, ValueError, ArithmeticError, MemoryError, zlib.error, lzma.LZMAError)
REGULAR, LONG_NAME, LONG_LINK, PAX, PAX_GLOBAL, SPARSE = b"0\x007", b"L", b"K", b"xX", b"g", b"S"
FURTHER, FURTHER_AGAIN = 482, 504  # bytes that say whether a list of a sparse file goes on in the next block
WITHOUT_CONTENT = b"123456"  # links, devices, folders, pipes: a size they claim is not followed by bytes


class TarError(ValueError):
    """Why an archive cannot be read any further."""


@dataclass(frozen=True)
class Member:
    name: str
    size: int
    start: int  # where its content is
    regular: bool
    sparse: bool = False


@contextmanager
def open_tar(path: str) -> Iterator[Tar]:
    """An archive, packed or not, as its first bytes say."""
    with open(open_regular(path), "rb") as file:
        size = os.fstat(file.fileno()).st_size
        unpacked = _unpacked(file)
        if unpacked is None:
            yield Tar(file, size, packed=False)
            return
        with unpacked:
            yield Tar(unpacked, max(UNPACKED_AT_LEAST, UNPACKED_RATIO * size), packed=True)


def _unpacked(file: IO[bytes]) -> IO[bytes] | None:
    """What a packed archive holds; None where it is not packed."""
    start = file.read(2)
    file.seek(0)
    if start == b"\x1f\x8b":
        return cast(IO[bytes], gzip.GzipFile(fileobj=file))
    if start == b"BZ":
        return bz2.BZ2File(file)
    if start == b"\xfd7":
        return lzma.LZMAFile(file)
    return None


class Tar:
    """An open archive. Reading backwards in a packed one unpacks it again from its start."""

    def __init__(self, file: IO[bytes], limit: int, packed: bool) -> None:
        self.file = file
        self.limit = limit
        self.packed = packed

    def members(self) -> Iterator[Member]:
        """Every member, until the end mark; an archive that just stops is damaged."""
        place, long_name, pax = 0, b"", _Pax()
        while any(block := self.read(place, BLOCK)):
            _check_sum(block)
            kind, size, place = block[156:157], _number(block[124:136]), place + BLOCK
            if kind in LONG_NAME + LONG_LINK:
                text = self._header(place, size).partition(b"\0")[0]
                long_name = text if kind in LONG_NAME else long_name
            elif kind in PAX:
                pax = _Pax.read(self._header(place, size))
            elif kind not in PAX_GLOBAL:
                place = self._after_sparse_list(block, kind, place)
                size = 0 if kind in WITHOUT_CONTENT else size if pax.size is None else pax.size
                name = pax.name or long_name or _name(block)
                regular = kind in REGULAR and not pax.sparse and not name.endswith(b"/")
                decoded = name.rstrip(b"/").decode("utf-8", "surrogateescape")
                yield Member(decoded, size, place, regular, pax.sparse or kind in SPARSE)
                long_name, pax = b"", _Pax()
            place += -(-size // BLOCK) * BLOCK

    def content(self, member: Member) -> bytes:
        return self.read(member.start, member.size)

    def read(self, place: int, size: int) -> bytes:
        if place + size > self.limit:
            if self.packed:
                raise TarError(f"it unpacks to more than {self.limit >> 20:,} MB")
            raise TarError("unexpected end of data")
        self.file.seek(place)
        content = self.file.read(size)
        if len(content) < size:
            raise TarError("unexpected end of data")
        return content

    def _header(self, place: int, size: int) -> bytes:
        if size > MAX_HEADER:
            raise TarError(f"a header of {size:,} bytes")
        return self.read(place, size)

    def _after_sparse_list(self, block: bytes, kind: bytes, place: int) -> int:
        further = kind in SPARSE and block[FURTHER]
        while further:
            further, place = self.read(place, BLOCK)[FURTHER_AGAIN], place + BLOCK
        return place


@dataclass(frozen=True)
class _Pax:
    """What an extended header says of the next member."""

    name: bytes = b""
    size: int | None = None
    sparse: bool = False

    @classmethod
    def read(cls, records: bytes) -> _Pax:
        """Records are "LENGTH KEY=VALUE\\n", where LENGTH counts all of the record."""
        name, size, sparse, place = b"", None, False, 0
        while place < len(records) and records[place]:
            length = int(records[place : place + 8].partition(b" ")[0])
            key, equals, value = records[place : place + length].partition(b" ")[2].partition(b"=")
            if length < 5 or not equals or place + length > len(records):
                raise TarError("a damaged header")
            if key == b"path":
                name = value[:-1]
            elif key == b"size":
                size = int(value[:20])
            elif key.startswith(b"GNU.sparse."):
                sparse = True
            place += length
        if size is not None and size < 0:
            raise TarError("a damaged header")
        return cls(name, size, sparse)


def _name(block: bytes) -> bytes:
    name, prefix = block[:100].partition(b"\0")[0], block[345:500].partition(b"\0")[0]
    return prefix + b"/" + name if prefix and block[257:263] != b"ustar " else name  # GNU keeps times there


def _number(field: bytes) -> int:
    """Octal digits, or, where the first bit is set, a binary number."""
    if field[0] == 0x80:
        return int.from_bytes(field[1:], "big")
    digits = field.partition(b"\0")[0].strip()
    if not digits.isdigit() and digits:
        raise TarError("a damaged header")
    return int(digits or b"0", 8)


def _check_sum(block: bytes) -> None:
    blanked = block[:148] + b" " * 8 + block[156:]
    signed = sum(blanked) - 256 * sum(byte > 127 for byte in blanked)  # as some old programs did
    if _number(block[148:156]) not in (sum(blanked), signed):
        raise TarError("a damaged header")
