"""Codes: the bits of pictures, packed, with the grains that name their prefixes.

The one bit convention of the house: a bit is 1 where the model's output is >= 0. Bit j of a code is bit
j % 64 of word j // 64; words are little-endian, so the packed bytes read the same on every machine.
Bits past the width of the code are zero.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hashgrain.errors import CodesError

MAX_BITS = 4096
Words = NDArray[np.uint64]


class Grains(Mapping[str, int]):
    """Named prefixes of a code, coarse to fine: `Grains(kind=32, thing=64, look=128)`.

    The order is the order of width; two grains cannot share one.
    """

    def __init__(self, grains: Mapping[str, int] | None = None, /, **named: int) -> None:
        widths = dict(grains or {}, **named)
        if not widths:
            raise CodesError("grains: at least one is needed, for example look=64")
        for name, bits in widths.items():
            if not name.isidentifier():
                raise CodesError(f"grains: {name!r} is not a plain word")
            if isinstance(bits, bool) or not isinstance(bits, int) or not 1 <= bits <= MAX_BITS:
                raise CodesError(f"grains: {name} has {bits!r} bits; it takes a whole number from 1 to {MAX_BITS}")
        ordered = sorted(widths.items(), key=lambda item: item[1])
        if len({bits for _, bits in ordered}) < len(ordered):
            raise CodesError(f"grains: two of {widths} have the same width; each must add bits to the one before")
        self._widths = dict(ordered)

    def __getitem__(self, name: str) -> int:
        return self._widths[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._widths)

    def __len__(self) -> int:
        return len(self._widths)

    def __repr__(self) -> str:
        return f"Grains({', '.join(f'{name}={bits}' for name, bits in self._widths.items())})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Grains) and self._widths == other._widths

    def __hash__(self) -> int:
        return hash(tuple(self._widths.items()))

    @property
    def bits(self) -> int:
        """The width of the whole code."""
        return self._widths[self.finest]

    @property
    def n_words(self) -> int:
        """How many 64-bit words hold one code."""
        return words_for(self.bits)

    @property
    def coarsest(self) -> str:
        return next(iter(self._widths))

    @property
    def finest(self) -> str:
        return next(reversed(self._widths))

    def width(self, name: str) -> int:
        """Return the width of a grain in bits. An unknown name is an error that lists the grains."""
        if name not in self._widths:
            raise CodesError(f"no grain {name!r} here; this code has {', '.join(self._widths)}")
        return self._widths[name]

    def named(self, name: str) -> str:
        """Return the grain of this name, in capital or small letters."""
        alike = [grain for grain in self._widths if grain.casefold() == name.casefold()]
        return alike[0] if len(alike) == 1 and name not in self._widths else name

    def up_to(self, name: str) -> Grains:
        """Return the grains of the prefix that `name` names."""
        width = self.width(name)
        return Grains({grain: bits for grain, bits in self._widths.items() if bits <= width})


def words_for(bits: int) -> int:
    return (bits + 63) // 64


def grains_of(text: str) -> Grains:
    """`order:16,family:32,species:64`: names and widths, coarse to fine."""
    pairs = [_pair(part) for part in text.split(",")]
    names = [name for name, _ in pairs]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise CodesError(f"{twice!r} is named twice; each grain has a name of its own")
    for (coarse, narrow), (fine, wide) in pairwise(pairs):
        if wide <= narrow:
            raise CodesError(
                f"{fine} has {wide} bits and {coarse} before it {narrow}; name grains coarse to fine, each wider than"
                " the one before"
            )
    return Grains(dict(pairs))


def _pair(part: str) -> tuple[str, int]:
    name, _, bits = (piece.strip() for piece in part.partition(":"))
    if not name or not (bits.isascii() and bits.isdigit()):
        raise CodesError(f"{part.strip()!r} is no grain; a name and its bits, as in order:16,family:32,species:64")
    return name, int(bits)


def prefix_mask(bits: int, n_words: int) -> Words:
    """Words with the first `bits` bits set: AND with it to cut codes to a prefix."""
    mask = np.zeros(n_words, np.uint64)
    mask[: bits // 64] = np.uint64(0xFFFFFFFFFFFFFFFF)
    if bits % 64:
        mask[bits // 64] = np.uint64((1 << (bits % 64)) - 1)
    return mask


def pack(bits: ArrayLike) -> Words:
    """(n, width) zeros and ones to (n, ceil(width / 64)) words."""
    table = np.atleast_2d(np.asarray(bits, bool))
    n, width = table.shape
    padded = np.zeros((n, words_for(width) * 64), bool)
    padded[:, :width] = table
    packed = np.packbits(padded, axis=1, bitorder="little")
    return packed.view("<u8").astype(np.uint64, copy=False)


def unpack(words: Words, width: int) -> NDArray[np.uint8]:
    """The inverse of `pack`: (n, width) zeros and ones."""
    as_bytes = np.ascontiguousarray(words, "<u8").view(np.uint8).reshape(len(words), 8 * words.shape[1])
    return np.unpackbits(as_bytes, axis=1, bitorder="little", count=width)


class Codes:
    """n packed codes with their grains. Treat them as immutable: methods return new codes."""

    __slots__ = ("grains", "words")

    def __init__(self, words: Words, grains: Grains) -> None:
        if words.ndim != 2 or words.dtype != np.uint64 or words.shape[1] != grains.n_words:
            raise CodesError(
                f"codes of {grains.bits} bits are uint64 words of shape (n, {grains.n_words}),"
                f" not {words.dtype} of shape {words.shape}"
            )
        if len(words) and bool(np.any(words[:, -1] & ~prefix_mask(grains.bits, grains.n_words)[-1])):
            raise CodesError(f"codes of {grains.bits} bits must be zero past their width")
        self.words = words
        self.grains = grains

    @classmethod
    def from_outputs(cls, outputs: ArrayLike, grains: Grains) -> Codes:
        """Pack a model's real-valued outputs (n, bits): a bit is 1 where the output is >= 0. NaN is refused."""
        table = np.atleast_2d(np.asarray(outputs))
        if table.shape[1] != grains.bits:
            raise CodesError(f"the model gave {table.shape[1]} outputs a picture, its grains ask for {grains.bits}")
        if np.isnan(table).any():
            raise CodesError("the model gave outputs that are not numbers (NaN)")
        return cls(pack(table >= 0), grains)

    @classmethod
    def from_bits(cls, bits: ArrayLike, grains: Grains) -> Codes:
        """Pack zeros and ones (n, bits)."""
        table = np.atleast_2d(np.asarray(bits))
        if table.shape[1] != grains.bits:
            raise CodesError(f"{table.shape[1]} bits a code, but the grains ask for {grains.bits}")
        if not np.isin(table, (0, 1)).all():
            raise CodesError("bits are zeros and ones")
        return cls(pack(table), grains)

    @classmethod
    def concatenate(cls, parts: Sequence[Codes]) -> Codes:
        grains = {part.grains for part in parts}
        if len(grains) != 1:
            raise CodesError(f"only codes of the same grains join, not {sorted(map(str, grains))}")
        return cls(np.concatenate([part.words for part in parts]), grains.pop())

    def __len__(self) -> int:
        return len(self.words)

    def __getitem__(self, index: int | slice | Sequence[int] | NDArray[np.integer | np.bool_]) -> Codes:
        """Select codes by an integer, a slice, a mask or an index array."""
        return Codes(np.atleast_2d(self.words[index]), self.grains)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Codes) and self.grains == other.grains and np.array_equal(self.words, other.words)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Codes({len(self)} x {self.grains.bits} bits, {self.grains})"

    def bits(self) -> NDArray[np.uint8]:
        """Return zeros and ones (n, width)."""
        return unpack(self.words, self.grains.bits)

    def at(self, grain: str) -> Codes:
        """Return the prefix that `grain` names, as codes of that width."""
        prefix = self.grains.up_to(grain)
        words = self.words[:, : prefix.n_words] & prefix_mask(prefix.bits, prefix.n_words)
        return Codes(words, prefix)

    def to_bytes(self) -> NDArray[np.uint8]:
        """Return bytes (n, 8 * words), little-endian, as files and other programs use them."""
        return np.ascontiguousarray(self.words, "<u8").view(np.uint8).reshape(len(self), 8 * self.grains.n_words)

    @classmethod
    def from_bytes(cls, rows: NDArray[np.uint8], grains: Grains) -> Codes:
        """The inverse of `to_bytes`. Rows of only ceil(bits / 8) bytes, as in Faiss, are padded."""
        need, width = (grains.bits + 7) // 8, grains.n_words * 8
        if rows.ndim != 2 or rows.dtype != np.uint8 or rows.shape[1] not in (need, width):
            raise CodesError(
                f"codes of {grains.bits} bits are rows of {need} or {width} bytes, not {rows.dtype} {rows.shape}"
            )
        padded = np.zeros((len(rows), width), np.uint8)
        padded[:, : rows.shape[1]] = rows
        return cls(padded.view("<u8").astype(np.uint64, copy=False), grains)
