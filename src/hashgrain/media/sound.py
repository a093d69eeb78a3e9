"""Recordings as a medium: WAV files to log-mel spectrograms, with numpy and nothing else.

Channels are averaged. A frame every 10 ms, of 1,024 samples at 22 kHz and as long at other rates; 64 bands on the mel
scale up to 11 kHz; decibels below the loudest frame of the file, down to -80. The level of a recording says nothing.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hashgrain.errors import ImageError, SoundError
from hashgrain.media.picture import Facts

if TYPE_CHECKING:
    from hashgrain.media.limits import Limits

BANDS = 64
FRAMES_A_SECOND = 100
WINDOW_SECONDS = 1024 / 22_050
LOWEST, HIGHEST = 40.0, 11_000.0  # Hz
FLOOR = -80.0  # dB
MAX_SECONDS = 3600
MAX_SAMPLES = 1 << 28  # over all channels: half a gigabyte of 16 bits, as large as a file may be
MAX_CHANNELS = 64
RATES = (1_000, 768_000)
VALUES_AT_ONCE = 1 << 20  # samples of the frames that are transformed at a time
PCM, FLOAT, EXTENSIBLE = 1, 3, 0xFFFE
WIDTHS = {PCM: (8, 16, 24, 32), FLOAT: (32, 64)}  # bits of a sample
RECORDING_EDGE = 256
Spectrogram = NDArray[np.float32]


@dataclass(frozen=True)
class Recording:
    spectrogram: Spectrogram  # (frames, bands) in dB
    facts: Facts


@dataclass(frozen=True)
class WavFormat:
    kind: int  # PCM or FLOAT
    channels: int
    rate: int
    bits: int

    @property
    def frame_bytes(self) -> int:
        return self.channels * self.bits // 8


class Sounds:
    name = "sound"
    suffixes = frozenset({".wav", ".wave"})
    dtype = "<f4"
    axes = 2

    def begins(self, start: bytes) -> bool:
        return start[:4] in (b"RIFF", b"RF64") and start[8:12] == b"WAVE"

    def decode(self, data: bytes, limits: Limits) -> tuple[Spectrogram, Facts]:
        """A log-mel spectrogram (frames, bands)."""
        form, samples = read_wav(data)
        if decoding_bytes(samples, form) > limits.decoding:
            raise SoundError(": takes more memory to decode than one recording may take here")
        seconds = len(samples) / form.frame_bytes / form.rate
        details = {"seconds": round(seconds, 3), "sample_rate": form.rate, "channels": form.channels}
        return log_mel(mono(samples, form), form.rate), Facts(None, None, "wav", None, details)

    def opened(self, array: Any, facts: Mapping[str, Any]) -> Recording:
        return Recording(array, Facts(**facts))

    def error(self, reason: str) -> ImageError:
        return SoundError(reason)

    def thumbnail(self, data: bytes, *, edge: int = RECORDING_EDGE) -> bytes:
        """The spectrogram, time from left to right and low tones below."""
        import io

        from PIL import Image

        form, samples = read_wav(data)
        levels = log_mel(mono(samples, form), form.rate).T[::-1] / -FLOOR + 1
        shown = Image.fromarray((255 * levels).astype(np.uint8)).resize((edge, max(1, edge // 2)))
        file = io.BytesIO()
        shown.save(file, "jpeg", quality=82)
        return file.getvalue()


def read_wav(data: bytes) -> tuple[WavFormat, memoryview]:
    """The format, and the bytes of the samples, of whole frames."""
    if not data:
        raise SoundError(": the file is empty")
    if not SOUNDS.begins(data[:32]):
        raise SoundError(": not a recording of a format we open (WAV)")
    form: WavFormat | None = None
    for name, place, size in _chunks(data):
        if name == b"fmt ":
            form = _format(data[place : place + min(size, 40)])
        elif name == b"data":
            if form is None:
                raise SoundError(": the file is damaged (its samples come before their format)")
            if place + size > len(data):
                raise SoundError(": the file is cut short")
            return form, _whole_frames(memoryview(data)[place : place + size], form)
    raise SoundError(": the file is damaged (it has no samples)")


def _chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """(name, place, size) of each chunk. The sizes are what the file says; data of unknown size go to its end."""
    place, long_data = 12, None
    while place + 8 <= len(data):
        name, size = data[place : place + 4], int.from_bytes(data[place + 4 : place + 8], "little")
        place += 8
        if name == b"ds64" and data[:4] == b"RF64" and place + 16 <= len(data):
            long_data = int.from_bytes(data[place + 8 : place + 16], "little")
        elif name == b"data" and size == 0xFFFFFFFF:  # as programs write that cannot go back
            size = len(data) - place if long_data is None else long_data
        yield name, place, size
        place += size + size % 2


def _format(chunk: bytes) -> WavFormat:
    if len(chunk) < 16:
        raise SoundError(": the file is damaged (its format is cut short)")
    kind, channels, rate, _, _, bits = struct.unpack("<HHIIHH", chunk[:16])
    if kind == EXTENSIBLE and len(chunk) >= 26:
        (kind,) = struct.unpack("<H", chunk[24:26])
    if kind not in WIDTHS or bits not in WIDTHS[kind]:
        raise SoundError(f": WAV with samples of kind {kind} and {bits} bits is not opened; PCM and floats are")
    if not 1 <= channels <= MAX_CHANNELS or not RATES[0] <= rate <= RATES[1]:
        raise SoundError(f": the file is damaged ({channels} channels at {rate} Hz)")
    return WavFormat(kind, channels, rate, bits)


def _whole_frames(samples: memoryview, form: WavFormat) -> memoryview:
    frames = len(samples) // form.frame_bytes
    if not frames:
        raise SoundError(": the recording has no samples")
    if frames > MAX_SECONDS * form.rate or frames * form.channels > MAX_SAMPLES:
        raise SoundError(f": the recording is longer than {MAX_SECONDS // 60} minutes, or has too many samples")
    return samples[: frames * form.frame_bytes]


def mono(samples: memoryview, form: WavFormat) -> NDArray[np.float32]:
    """The mean of all channels, -1 to 1. What is no number is silence."""
    if form.kind == FLOAT:
        values = np.frombuffer(samples, f"<f{form.bits // 8}")
        values = np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0).clip(-1e6, 1e6).astype(np.float32)
    elif form.bits == 8:
        values = (np.frombuffer(samples, np.uint8).astype(np.float32) - 128) / 128
    elif form.bits == 24:
        bytes_of = np.frombuffer(samples, np.uint8).reshape(-1, 3)
        padded = np.zeros((len(bytes_of), 4), np.uint8)
        padded[:, 1:] = bytes_of
        values = padded.view("<i4")[:, 0].astype(np.float32) / (1 << 31)
    else:
        values = np.frombuffer(samples, f"<i{form.bits // 8}").astype(np.float32) / (1 << (form.bits - 1))
    return np.asarray(values.reshape(-1, form.channels).mean(1, dtype=np.float32))


def decoding_bytes(samples: memoryview, form: WavFormat) -> int:
    """What decoding takes in memory, about: every sample twice in double precision, and the spectrogram."""
    values = 8 * len(samples) // form.bits
    seconds = len(samples) / form.frame_bytes / form.rate
    return 16 * values + 8 * int(seconds * FRAMES_A_SECOND + 1) * BANDS + 64 * VALUES_AT_ONCE


def log_mel(samples: NDArray[np.float32], rate: int) -> Spectrogram:
    """(frames, bands) in dB below the loudest, of samples of one channel."""
    window = max(16, round(WINDOW_SECONDS * rate))
    frames = max(1, math.ceil(len(samples) / rate * FRAMES_A_SECOND))
    padded = np.concatenate([samples, np.zeros(window, np.float32)])
    starts = (np.arange(frames) * rate / FRAMES_A_SECOND).astype(np.int64)
    taper, filters = np.hanning(window).astype(np.float32), _filters(rate, window)
    levels = np.empty((frames, BANDS), np.float32)
    at_once = max(1, VALUES_AT_ONCE // window)
    for first in range(0, frames, at_once):
        some = starts[first : first + at_once, None] + np.arange(window)
        levels[first : first + at_once] = np.abs(np.fft.rfft(padded[some] * taper)) ** 2 @ filters
    loudest = levels.max()
    if loudest <= 0:
        return np.full((frames, BANDS), FLOOR, np.float32)
    levels /= loudest
    np.maximum(levels, 1e-12, out=levels)
    np.log10(levels, out=levels)
    levels *= 10
    np.maximum(levels, FLOOR, out=levels)
    return levels


@lru_cache(maxsize=8)
def _filters(rate: int, window: int) -> NDArray[np.float64]:
    """(bins, bands): triangles on the mel scale, each of area one; bands above the spectrum are silent."""
    mel = np.linspace(2595 * math.log10(1 + LOWEST / 700), 2595 * math.log10(1 + HIGHEST / 700), BANDS + 2)
    edges = 700 * (10 ** (mel / 2595) - 1)
    bins = np.fft.rfftfreq(window, 1 / rate)[:, None]
    rising = (bins - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - bins) / (edges[2:] - edges[1:-1])
    triangles = np.maximum(0, np.minimum(rising, falling))
    # A band narrower than a bin would miss all of them: it takes the nearest.
    nearest = np.abs(bins - edges[1:-1]).argmin(0)
    empty = (triangles.sum(0) == 0) & (edges[1:-1] < rate / 2)
    triangles[nearest[empty], np.flatnonzero(empty)] = 1
    return np.asarray(triangles / np.maximum(triangles.sum(0), 1e-9), np.float64)


SOUNDS = Sounds()
