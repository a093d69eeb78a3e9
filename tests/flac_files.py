"""FLAC to samples, for tests: enough of RFC 9639 for files of one or two channels, in Python alone."""

from __future__ import annotations

import io
import wave

import numpy as np
from numpy.typing import NDArray

FIXED = {0: [], 1: [1], 2: [2, -1], 3: [3, -3, 1], 4: [4, -6, 4, -1]}


class Bits:
    def __init__(self, data: bytes, place: int) -> None:
        self.text = bin(int.from_bytes(b"\1" + data[place:], "big"))[3:]
        self.at = 0

    def take(self, count: int) -> int:
        self.at += count
        return int(self.text[self.at - count : self.at] or "0", 2)

    def signed(self, count: int) -> int:
        value = self.take(count)
        return value - (1 << count) if count and value >> (count - 1) else value

    def unary(self) -> int:
        end = self.text.index("1", self.at)
        count, self.at = end - self.at, end + 1
        return count


def samples_of(data: bytes, seconds: float) -> tuple[NDArray[np.int64], int]:
    """(n, channels) of the beginning of a file, and its rate."""
    assert data[:4] == b"fLaC"
    place, last, rate, bits = 4, False, 0, 0
    while not last:
        last, kind, size = (
            bool(data[place] & 128),
            data[place] & 127,
            int.from_bytes(data[place + 1 : place + 4], "big"),
        )
        if kind == 0:
            packed = int.from_bytes(data[place + 14 : place + 22], "big")
            rate, bits = packed >> 44, (packed >> 36 & 31) + 1
        place += 4 + size
    stream, blocks, count = Bits(data, place), [], 0
    while stream.at + 16 < len(stream.text) and count < seconds * rate:
        blocks.append(_frame(stream, bits))
        count += len(blocks[-1])
    return np.concatenate(blocks)[: int(seconds * rate)], rate


def as_wav(samples: NDArray[np.int64], rate: int) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(samples.shape[1])
        writer.setsampwidth(2)
        writer.setframerate(rate)
        writer.writeframes(samples.astype("<i2").tobytes())
    return file.getvalue()


def _frame(stream: Bits, bits: int) -> NDArray[np.int64]:
    assert stream.take(14) == 0x3FFE
    stream.take(2)
    size_code, rate_code, layout, _, _ = (stream.take(n) for n in (4, 4, 4, 3, 1))
    first = stream.take(8)
    for _ in range(max(0, 8 - (first ^ 255).bit_length() - 1)):  # the number of the frame, as UTF-8 writes it
        stream.take(8)
    if size_code in (6, 7):
        size = stream.take(8 if size_code == 6 else 16) + 1
    else:
        size = 192 if size_code == 1 else 576 << (size_code - 2) if size_code < 6 else 256 << (size_code - 8)
    stream.take({12: 8, 13: 16, 14: 16}.get(rate_code, 0))
    stream.take(8)
    sides = {8: (0, 1), 9: (1, 0), 10: (0, 1)}.get(layout, (0,) * (layout + 1))
    parts = [_subframe(stream, size, bits + extra) for extra in sides]
    stream.at += -stream.at % 8 + 16
    if layout == 8:
        parts[1] = parts[0] - parts[1]
    elif layout == 9:
        parts[0] = parts[0] + parts[1]
    elif layout == 10:
        middle = 2 * parts[0] + (parts[1] & 1)
        parts = [(middle + parts[1]) >> 1, (middle - parts[1]) >> 1]
    return np.stack(parts, 1)


def _subframe(stream: Bits, size: int, bits: int) -> NDArray[np.int64]:
    stream.take(1)
    kind, wasted = stream.take(6), stream.take(1)
    if wasted:
        wasted += stream.unary()
    bits -= wasted
    if kind == 0:
        values = [stream.signed(bits)] * size
    elif kind == 1:
        values = [stream.signed(bits) for _ in range(size)]
    else:
        order = kind - 31 if kind >= 32 else kind - 8
        values = [stream.signed(bits) for _ in range(order)]
        shift, weights = 0, FIXED.get(order, [])
        if kind >= 32:
            precision = stream.take(4) + 1
            shift = stream.signed(5)
            weights = [stream.signed(precision) for _ in range(order)]
        weights = weights[::-1]
        for rest in _residual(stream, size, order):
            end = len(values)
            guess = sum(w * v for w, v in zip(weights, values[end - order :], strict=True)) if order else 0
            values.append(rest + (guess >> shift))
    return np.array(values, np.int64) << wasted


def _residual(stream: Bits, size: int, order: int) -> list[int]:
    width = 5 if stream.take(2) else 4
    parts = 1 << stream.take(4)
    found: list[int] = []
    text = stream.text
    for part in range(parts):
        count = size // parts - (order if part == 0 else 0)
        low = stream.take(width)
        if low == (1 << width) - 1:
            raw = stream.take(5)
            found += [stream.signed(raw) for _ in range(count)]
            continue
        at = stream.at
        for _ in range(count):
            end = text.index("1", at)
            at, high = end + 1 + low, end - at
            value = high << low | (int(text[end + 1 : at], 2) if low else 0)
            found.append(value >> 1 ^ -(value & 1))
        stream.at = at
    return found
