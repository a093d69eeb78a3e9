"""The parts of an item, and how they are written as a row of the catalogue.

The codes of all parts of an item are one blob. Where they lie is said once for the library, by its grid, or by the item
itself: a byte that says box or span, a little-endian float32 for each number, and a CRC-32.
"""

from __future__ import annotations

import json
import os
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hashgrain.errors import LibraryDamagedError, LibraryError, Remedy
from hashgrain.store.errors import to_remove
from hashgrain.store.spaces import MAX_ITEM, MAX_PARTS

Grid = tuple[tuple[float, ...], ...]  # boxes or spans of the parts 1, 2, ... of every item without positions of its own
MAX_GRID_CHARS = 90_000  # of JSON; a fact of a library has at most 100,000
NUMBERS = {b"b": 4, b"s": 2}  # of a box: left, top, right, bottom; of a span: start and end
# item, rows, codes, positions, checksum: a row of the table of parts but its place
Entry = tuple[int, int, bytes, bytes | None, int]


@dataclass(frozen=True, eq=False)
class Parts:
    """The parts 1, 2, ... of an item. `codes` is (n, words); `positions` (n, 4) has boxes as fractions of the upright
    picture, (n, 2) spans in seconds; without them the parts follow the grid of the library."""

    codes: NDArray[np.uint64]
    positions: NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(self.codes)


def entry_of(parts: Parts, item: int, n_words: int, grid: Grid | None, path: str) -> Entry:
    """The row of an item's parts, or an error where they cannot be kept."""
    codes = np.asarray(parts.codes)
    if codes.dtype != np.uint64 or codes.ndim != 2 or codes.shape[1] != n_words or not 0 < len(codes) <= MAX_PARTS:
        raise LibraryError(
            f"{path}: the codes of its parts are {codes.dtype} of shape {codes.shape},"
            f" this library takes uint64 of shape (1 to {MAX_PARTS}, {n_words})"
        )
    if item > MAX_ITEM:
        raise LibraryError(f"{path}: item {item} cannot have parts; ids up to {MAX_ITEM} can")
    positions = None
    if parts.positions is not None:
        where = np.asarray(parts.positions, np.float32)
        reason = "one for each part is needed" if len(where) != len(codes) else wrong_positions(where)
        if reason is not None:
            raise LibraryError(f"{path}: the positions of its parts, of shape {where.shape}, cannot be kept: {reason}")
        positions = _positions_bytes(item, where)
    elif grid is not None and len(codes) > len(grid):
        raise LibraryError(f"{path}: {len(codes)} parts without positions, the grid of the library has {len(grid)}")
    code = np.ascontiguousarray(codes, "<u8").tobytes()
    return item, len(codes), code, positions, seal(item, len(codes), code, positions)


def wrong_positions(where: NDArray[np.float32]) -> str | None:
    """What is wrong with an array of boxes or spans; None where nothing is."""
    if where.ndim != 2 or where.shape[1] not in NUMBERS.values():
        return "a box has four numbers, a span two"
    if not np.isfinite(where).all() or (where < 0).any():
        return "they are numbers of at least 0"
    half = where.shape[1] // 2
    if (where[:, :half] > where[:, half:]).any():
        return "each ends where it begins, or behind"
    if half == 2 and (where > 1).any():
        return "boxes are fractions, from 0 to 1"
    return None


def seal(item: int, rows: int, code: bytes, positions: bytes | None) -> int:
    """A checksum that also ties the codes to their item. Positions have one of their own, so that codes can be mended
    where only they are damaged."""
    kind = "" if positions is None else positions[:1].hex()
    return zlib.crc32(code, zlib.crc32(f"{item}/{rows}/{kind}".encode()))


def is_sound(n_words: int, item: object, rows: object, code: object, positions: object, checksum: object) -> bool:
    """Whether the checksums fit, and each value is what its column holds."""
    if not (isinstance(item, int) and isinstance(rows, int) and isinstance(code, bytes)):
        return False
    if not (0 < rows <= MAX_PARTS and 0 < item <= MAX_ITEM and len(code) == 8 * n_words * rows):
        return False
    if not sound_positions(item, rows, positions):
        return False
    return seal(item, rows, code, positions if isinstance(positions, bytes) else None) == checksum


def sound_positions(item: int, rows: int, positions: object) -> bool:
    if positions is None:
        return True
    if not isinstance(positions, bytes) or positions[:1] not in NUMBERS:
        return False
    if len(positions) != 1 + 4 * NUMBERS[positions[:1]] * rows + 4:
        return False
    return _positions_seal(item, positions[:-4]) == positions[-4:] and wrong_positions(_where(positions)) is None


def parts_of(library: os.PathLike[str], n_words: int, item: int, *values: Any) -> Parts:
    """The parts of a row (item, rows, code, positions, checksum), or an error that says how to mend it."""
    if not is_sound(n_words, item, *values):
        raise damaged(library, item)
    _, code, positions, _ = values
    codes = np.frombuffer(code, "<u8").astype(np.uint64).reshape(-1, n_words)
    return Parts(codes, None if positions is None else _where(positions))


def damaged(library: os.PathLike[str], item: int) -> LibraryDamagedError:
    message = f"{library}: the parts of item {item} are damaged in the catalogue"
    words = f"rebuild the library to mend them, or {to_remove(item)}"
    return LibraryDamagedError(message, path=library, remedy=Remedy(words, "mend_code", item=item))


def grid_text(grid: Sequence[Sequence[float]]) -> str:
    """A grid as a fact of the library, or an error where it is none."""
    cells = [[float(number) for number in cell] for cell in grid]
    if len({len(cell) for cell in cells}) != 1:
        raise LibraryError("a grid is a list of boxes, or a list of spans")
    reason = wrong_positions(np.array(cells, np.float32))
    if len(cells) > MAX_PARTS or reason is not None:
        raise LibraryError(f"this grid of {len(cells)} parts cannot be kept: {reason or f'at most {MAX_PARTS}'}")
    text = json.dumps(cells, separators=(",", ":"))
    if len(text) > MAX_GRID_CHARS:
        raise LibraryError(
            f"a grid of {len(cells)} parts is too long to be kept; give the parts positions of their own"
        )
    return text


def grid_of(text: str) -> Grid:
    """The grid that a text says; ValueError where it says none."""
    cells = json.loads(text)
    grid = tuple(tuple(map(float, cell)) for cell in cells)
    if not grid or len({len(cell) for cell in grid}) != 1:
        raise ValueError("no grid")
    if wrong_positions(np.array(grid, np.float32)) is not None:
        raise ValueError("no grid")
    return grid


def _positions_bytes(item: int, where: NDArray[np.float32]) -> bytes:
    kind = b"b" if where.shape[1] == NUMBERS[b"b"] else b"s"
    content = kind + np.ascontiguousarray(where, "<f4").tobytes()
    return content + _positions_seal(item, content)


def _positions_seal(item: int, content: bytes) -> bytes:
    return struct.pack("<I", zlib.crc32(content, zlib.crc32(str(item).encode())))


def _where(positions: bytes) -> NDArray[np.float32]:
    found = np.frombuffer(positions[1:-4], "<f4").astype(np.float32)
    return found.reshape(-1, NUMBERS[positions[:1]])
