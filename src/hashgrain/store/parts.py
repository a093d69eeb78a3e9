"""The parts of an item, and their row of the catalogue.

The codes of all parts of an item are one blob. Their positions come from the grid of the library, or from a blob of the
item: a byte for box or span, a little-endian float32 for each number, and a CRC-32.
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
N_COORDINATES = {b"b": 4, b"s": 2}  # of a box: left, top, right, bottom; of a span: start and end
# item, rows, codes, positions, checksum: a row of the table of parts without its row number
PartsRow = tuple[int, int, bytes, bytes | None, int]


@dataclass(frozen=True, eq=False)
class Parts:
    """The parts 1, 2, ... of an item. `codes` is (n, words); `positions` (n, 4) has boxes as fractions of the upright
    picture, (n, 2) spans in seconds; without them the parts follow the grid of the library."""

    codes: NDArray[np.uint64]
    positions: NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(self.codes)


def parts_row(parts: Parts, item: int, n_words: int, grid: Grid | None, path: str) -> PartsRow:
    """The row of an item's parts; raise if they cannot be stored."""
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
        array = np.asarray(parts.positions, np.float32)
        reason = "one for each part is needed" if len(array) != len(codes) else positions_error(array)
        if reason is not None:
            raise LibraryError(f"{path}: the positions of its parts, of shape {array.shape}, cannot be kept: {reason}")
        positions = _positions_bytes(item, array)
    elif grid is not None and len(codes) > len(grid):
        raise LibraryError(f"{path}: {len(codes)} parts without positions, the grid of the library has {len(grid)}")
    code = np.ascontiguousarray(codes, "<u8").tobytes()
    return item, len(codes), code, positions, parts_checksum(item, len(codes), code, positions)


def positions_error(positions: NDArray[np.float32]) -> str | None:
    """What is wrong with an array of boxes or spans, or None."""
    if positions.ndim != 2 or positions.shape[1] not in N_COORDINATES.values():
        return "a box has four numbers, a span two"
    if not np.isfinite(positions).all() or (positions < 0).any():
        return "they are numbers of at least 0"
    half = positions.shape[1] // 2
    if (positions[:, :half] > positions[:, half:]).any():
        return "each ends where it begins, or behind"
    if half == 2 and (positions > 1).any():
        return "boxes are fractions, from 0 to 1"
    return None


def parts_checksum(item: int, rows: int, code: bytes, positions: bytes | None) -> int:
    """A checksum that also ties the codes to their item. Positions have a checksum of their own, so that damaged codes
    can be mended alone."""
    kind = "" if positions is None else positions[:1].hex()
    return zlib.crc32(code, zlib.crc32(f"{item}/{rows}/{kind}".encode()))


def is_sound(n_words: int, item: object, rows: object, code: object, positions: object, checksum: object) -> bool:
    """Whether the checksums match and each value has the type of its column."""
    if not (isinstance(item, int) and isinstance(rows, int) and isinstance(code, bytes)):
        return False
    if not (0 < rows <= MAX_PARTS and 0 < item <= MAX_ITEM and len(code) == 8 * n_words * rows):
        return False
    if not sound_positions(item, rows, positions):
        return False
    return parts_checksum(item, rows, code, positions if isinstance(positions, bytes) else None) == checksum


def sound_positions(item: int, rows: int, positions: object) -> bool:
    if positions is None:
        return True
    if not isinstance(positions, bytes) or positions[:1] not in N_COORDINATES:
        return False
    if len(positions) != 1 + 4 * N_COORDINATES[positions[:1]] * rows + 4:
        return False
    return (
        _positions_checksum(item, positions[:-4]) == positions[-4:]
        and positions_error(_positions_array(positions)) is None
    )


def parts_from_row(library: os.PathLike[str], n_words: int, item: int, *values: Any) -> Parts:
    """The parts of a row (item, rows, code, positions, checksum); a damaged row raises and says how to mend it."""
    if not is_sound(n_words, item, *values):
        raise damaged_error(library, item)
    _, code, positions, _ = values
    codes = np.frombuffer(code, "<u8").astype(np.uint64).reshape(-1, n_words)
    return Parts(codes, None if positions is None else _positions_array(positions))


def damaged_error(library: os.PathLike[str], item: int) -> LibraryDamagedError:
    message = f"{library}: the parts of item {item} are damaged in the catalogue"
    words = f"rebuild the library to mend them, or {to_remove(item)}"
    return LibraryDamagedError(message, path=library, remedy=Remedy(words, "mend_code", item=item))


def grid_text(grid: Sequence[Sequence[float]]) -> str:
    """A grid as text for the table of facts; raise if it is not a valid grid."""
    cells = [[float(number) for number in cell] for cell in grid]
    if len({len(cell) for cell in cells}) != 1:
        raise LibraryError("a grid is a list of boxes, or a list of spans")
    reason = positions_error(np.array(cells, np.float32))
    if len(cells) > MAX_PARTS or reason is not None:
        raise LibraryError(f"this grid of {len(cells)} parts cannot be kept: {reason or f'at most {MAX_PARTS}'}")
    text = json.dumps(cells, separators=(",", ":"))
    if len(text) > MAX_GRID_CHARS:
        raise LibraryError(
            f"a grid of {len(cells)} parts is too long to be kept; give the parts positions of their own"
        )
    return text


def grid_of(text: str) -> Grid:
    """The grid in a text; ValueError if it has none."""
    cells = json.loads(text)
    grid = tuple(tuple(map(float, cell)) for cell in cells)
    if not grid or len({len(cell) for cell in grid}) != 1:
        raise ValueError("no grid")
    if positions_error(np.array(grid, np.float32)) is not None:
        raise ValueError("no grid")
    return grid


def _positions_bytes(item: int, positions: NDArray[np.float32]) -> bytes:
    kind = b"b" if positions.shape[1] == N_COORDINATES[b"b"] else b"s"
    content = kind + np.ascontiguousarray(positions, "<f4").tobytes()
    return content + _positions_checksum(item, content)


def _positions_checksum(item: int, content: bytes) -> bytes:
    return struct.pack("<I", zlib.crc32(content, zlib.crc32(str(item).encode())))


def _positions_array(positions: bytes) -> NDArray[np.float32]:
    numbers = np.frombuffer(positions[1:-4], "<f4").astype(np.float32)
    return numbers.reshape(-1, N_COORDINATES[positions[:1]])
