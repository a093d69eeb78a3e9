"""Index files: written atomically, memory-mapped, and checked before use.

A file is a padded line of JSON, followed by the arrays, each at a multiple of 64 bytes. The line contains a fingerprint
of the indexed rows, so that an index of other rows, or of another library, is never used.
"""

from __future__ import annotations

import json
import os
import zlib
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hashgrain import inside
from hashgrain.codes import MAX_BITS
from hashgrain.errors import LibraryDamagedError, Remedy
from hashgrain.hamming import native
from hashgrain.hamming.index import BUCKETS, CHUNK, MAX_TABLES, Lists, Tables
from hashgrain.hamming.mapping import map_file

INDEX_ANEW = Remedy("build the index anew", "index_anew")
MAGIC = "hashgrain index 1"
UNFINISHED = ".part"
HEADER = 4096
ALIGNED = 64
ARRAYS = {"tables": ("starts", "codes", "rows"), "lists": ("centres", "starts", "planes", "rows")}
TYPES = {"starts": "<u4", "rows": "<u4", "codes": "<u8", "centres": "<u8", "planes": "<u8"}
CHECKED_AT_ONCE = 1 << 24


@dataclass(frozen=True)
class IndexHeader:
    """The first line of a file."""

    path: str
    first: int
    n: int
    bits: int
    fingerprint: str
    arrays: tuple[tuple[str, str, tuple[int, ...], int, int], ...]  # name, type, shape, where, checksum

    @property
    def end(self) -> int:
        return self.first + self.n


def save(index: Tables | Lists, file: Path, fingerprint: str) -> None:
    """Write an index to a temporary file and rename it when it is complete."""
    aside = file.with_name(f"{file.name}.{os.urandom(4).hex()}{UNFINISHED}")
    library, folder = file.parent.parent, file.parent.name
    bits = CHUNK * len(index.starts) if isinstance(index, Tables) else index.bits
    arrays, place = [], HEADER
    try:
        with open(_open(aside, os.O_RDWR | os.O_CREAT | os.O_EXCL), "wb") as out:
            for name in ARRAYS[index.path]:
                array = np.ascontiguousarray(getattr(index, name))
                out.seek(place)
                out.write(array.reshape(-1).view(np.uint8).data)
                arrays.append((name, array.dtype.str, array.shape, place, _checksum(array)))
                place += -(-array.nbytes // ALIGNED) * ALIGNED
            out.truncate(place)
            out.seek(0)
            out.write(_header(IndexHeader(index.path, index.first, index.n, bits, fingerprint, tuple(arrays))))
            out.flush()
            os.fsync(out.fileno())
        inside.rename(library, (folder,), aside.name, file.name)
    except BaseException:
        with suppress(OSError):
            inside.remove(library, folder, aside.name)
        raise


def _open(file: Path, flags: int = os.O_RDONLY) -> int:
    """Open a file in a folder of a library. Libraries may be untrusted: neither file nor folder may be a link."""
    return inside.open_file(file.parent.parent, file.parent.name, file.name, flags=flags)


def read_facts(file: Path) -> IndexHeader:
    """Read the first line, or raise an error that names the problem."""
    try:
        with open(_open(file), "rb") as opened:
            line = opened.read(HEADER).split(b"\n", 1)[0]
        magic, checksum, text = line.split(b" | ", 2)
        if magic.decode() != MAGIC or int(checksum) != zlib.crc32(text):
            raise ValueError("its first line is damaged, or of another version")
        entries = json.loads(text)
        if not isinstance(entries, dict):
            raise ValueError("its first line is invalid")
        arrays = tuple((n, t, tuple(shape), place, crc) for n, t, shape, place, crc in entries.pop("arrays"))
        facts = IndexHeader(**entries, arrays=arrays)
        if not all(isinstance(number, int) and number >= 0 for number in (facts.first, facts.n, facts.bits)):
            raise ValueError("its first line is invalid")
        return facts
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        message = f"{file}: not usable as an index ({error})"
        raise LibraryDamagedError(message, path=file, remedy=INDEX_ANEW) from error


def open_index(file: Path, fingerprint: str) -> Tables | Lists:
    """Map an index of exactly these rows. Every byte is read once and checked."""
    facts = read_facts(file)
    if facts.fingerprint != fingerprint:
        raise LibraryDamagedError(f"{file}: an index of other rows", path=file, remedy=INDEX_ANEW)
    try:
        with open(_open(file), "rb") as opened:
            mapping = map_file(opened.fileno(), os.fstat(opened.fileno()).st_size)
        whole = np.frombuffer(mapping.view, np.uint8)
        arrays = {each[0]: _mapped(whole, *each) for each in facts.arrays}
        return replace(_sound(facts, arrays), mapping=mapping)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise LibraryDamagedError(f"{file}: damaged ({error})", path=file, remedy=INDEX_ANEW) from error


def _mapped(
    whole: NDArray[np.uint8], name: str, kind: str, shape: tuple[int, ...], place: int, checksum: int
) -> NDArray[Any]:
    if kind != TYPES[name] or min(shape) < 0 or place % ALIGNED:
        raise ValueError("an array of an unknown kind")
    size = int(np.prod(shape, dtype=object)) * int(kind[2])
    if place < HEADER or place + size > len(whole):
        raise ValueError("it is cut short")
    array = whole[place : place + size].view(kind).reshape(shape)
    if _checksum(array) != checksum:
        raise ValueError("an array does not match its checksum")
    return array


def _sound(facts: IndexHeader, arrays: dict[str, NDArray[Any]]) -> Tables | Lists:
    """Check that shapes fit each other and that no start is past the end: the kernels rely on both."""
    starts, rows, n = arrays["starts"], arrays["rows"], facts.n
    if facts.path == "tables":
        tables = len(starts)
        if not 1 <= tables <= MAX_TABLES or facts.bits != CHUNK * tables:
            raise ValueError("its tables are not those of any grain")
        if starts.shape != (tables, BUCKETS + 1) or arrays["codes"].shape != (tables, n) or rows.shape != (tables, n):
            raise ValueError("its tables do not fit each other")
        for table in starts:
            _check_starts(table, n)
        return Tables(facts.first, n, starts, arrays["codes"], rows)
    width, lists = (facts.bits + 63) // 64, len(arrays["centres"])
    if facts.path != "lists" or not 1 <= facts.bits <= MAX_BITS:
        raise ValueError("an index of an unknown kind")
    fits = arrays["planes"].shape == (width, n) and starts.shape == (lists, facts.bits + 2) and rows.shape == (n,)
    if not fits or arrays["centres"].shape != (lists, width):
        raise ValueError("its lists do not fit each other")
    _check_starts(starts.reshape(-1), n)
    return Lists(facts.first, n, facts.bits, arrays["centres"], starts, arrays["planes"], rows)


def _check_starts(starts: NDArray[np.uint32], n: int) -> None:
    if native.compiled():
        native.kernels.sound_starts(starts, len(starts), n)
    elif np.any(starts[1:] < starts[:-1]) or starts[-1] > n:
        raise ValueError("an index leads past its own end")


def _checksum(array: NDArray[Any]) -> int:
    view, crc = array.reshape(-1).view(np.uint8).data, 0
    for start in range(0, len(view), CHECKED_AT_ONCE):
        crc = zlib.crc32(view[start : start + CHECKED_AT_ONCE], crc)
    return crc


def _header(facts: IndexHeader) -> bytes:
    text = json.dumps({**facts.__dict__}).encode()
    line = f"{MAGIC} | {zlib.crc32(text)} | ".encode() + text + b"\n"
    if len(line) > HEADER:
        raise ValueError("the first line is too long")
    return line.ljust(HEADER, b"\0")
