"""Reads the wire format of protocol buffers, as much of it as a check needs: no message is built, nothing is copied.

A message is a run of fields, each a number, a wire type and a value. Writers and readers may differ in what they make
of odd bytes (a field given twice, a field nobody knows), and a check that reads a file otherwise than the program it
guards is no check. So whatever is odd is refused: fields that the schema does not name, another wire type than its, a
single field given twice, groups, numbers of more than 64 bits.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np

# v: one number, f: one 32-bit float, b: bytes, text or a message; in capitals: any number of them, D of 64-bit floats.
FieldKind = Literal["v", "f", "b", "V", "F", "D", "B"]
Schema = Mapping[int, FieldKind]
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
WIRE = {"v": VARINT, "V": VARINT, "f": FIXED32, "F": FIXED32, "D": FIXED64, "b": BYTES, "B": BYTES}
MAX_FIELDS = 1_000_000  # a second of reading; a graph of a thousand layers has some ten thousand


class WireError(ValueError):
    """Bytes that are no message of this schema."""


class Message:
    """The fields of one message: numbers and views of its bytes, by field number."""

    def __init__(self, fields: Mapping[int, list[int | memoryview]]) -> None:
        self._fields = fields

    def __contains__(self, number: int) -> bool:
        return number in self._fields

    def parts(self, number: int) -> list[memoryview]:
        """The values of a field of bytes or messages."""
        return [value for value in self._fields.get(number, ()) if isinstance(value, memoryview)]

    def part(self, number: int) -> memoryview:
        return next(iter(self.parts(number)), memoryview(b""))

    def text(self, number: int) -> str:
        return text_of(self.part(number))

    def texts(self, number: int) -> list[str]:
        return [text_of(part) for part in self.parts(number)]

    def number(self, number: int, default: int = 0) -> int:
        value = next(iter(self._fields.get(number, ())), default)
        return value if isinstance(value, int) else default

    def numbers(self, number: int, most: int) -> list[int]:
        """The values of a repeated number, packed or not; at most so many."""
        values: list[int] = []
        for value in self._fields.get(number, ()):
            if isinstance(value, int):
                values.append(value)
            else:
                at = 0
                while at < len(value) and len(values) <= most:
                    item, at = _varint(value, at)
                    values.append(_signed(item))
        if len(values) > most:
            raise WireError(f"has more than {most} values in field {number}")
        return values

    def count(self, number: int, kind: FieldKind) -> int:
        """How many values a repeated field of numbers has, packed or not."""
        total = 0
        for value in self._fields.get(number, ()):
            if isinstance(value, int):
                total += 1
            elif kind == "V":  # the last byte of each number is the one without the high bit
                total += int(np.count_nonzero(np.frombuffer(value, np.uint8) < 128))
            else:
                total += len(value) // (4 if kind == "F" else 8)
        return total


class Reader:
    """Reads messages within one budget of fields, so that a file cannot take longer than its size deserves."""

    def __init__(self, budget: int = MAX_FIELDS) -> None:
        self.left = budget

    def read(self, data: memoryview, schema: Schema) -> Message:
        fields: dict[int, list[int | memoryview]] = {}
        at, end = 0, len(data)
        while at < end:
            self.left -= 1
            if self.left < 0:
                raise WireError("has more fields than a model may have")
            tag, at = _varint(data, at)
            number, wire = tag >> 3, tag & 7
            kind = schema.get(number)
            if kind is None:
                raise WireError(f"has a field {number} that is not known here")
            packed = wire == BYTES and kind in "VFD"
            if wire != WIRE[kind] and not packed:
                raise WireError(f"has field {number} with wire type {wire}")
            value, at = _value(data, at, wire)
            if number in fields and kind.islower():
                raise WireError(f"has field {number} twice")
            fields.setdefault(number, []).append(value)
        return Message(fields)


def text_of(data: memoryview) -> str:
    try:
        return bytes(data).decode()
    except UnicodeDecodeError:
        raise WireError("has a name that is not text") from None


def _value(data: memoryview, at: int, wire: int) -> tuple[int | memoryview, int]:
    if wire == VARINT:
        value, at = _varint(data, at)
        return _signed(value), at
    if wire == BYTES:
        length, at = _varint(data, at)
    else:
        length = 8 if wire == FIXED64 else 4
    if length > len(data) - at:
        raise WireError("ends within a field")
    part = data[at : at + length]
    return (part if wire == BYTES else int.from_bytes(part, "little")), at + length


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise WireError("ends within a number, or has one of more than 64 bits")
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value & 0xFFFF_FFFF_FFFF_FFFF, at
        shift += 7


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value
