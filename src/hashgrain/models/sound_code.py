"""A code for sounds without a network: the tones of a stretch, how they change, and the course of its level.

The log-mel spectrogram of a stretch is described by 320 numbers, which are compared with random directions: bit = 1
where the product is >= 0, so that the angle between two descriptions is the share of bits that differ. The directions
come from one seed and are the same on every machine. Nothing is learned.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from hashgrain.codes import Codes, Grains
from hashgrain.errors import SoundError

NAME = "log-mel signs 1"  # of what makes these codes: codes of another version do not compare
GRAINS = Grains(kind=64, look=256)
SEED = 20
FRAMES_A_SECOND = 100  # of a spectrogram of `media.sound`
PART_FRAMES, STEP_FRAMES = 50, 12
MOST_PARTS = 65_535
FLOOR = -80.0
SLICES = 16  # of a stretch, for the course of its level
COARSE = 8  # bands of that
Levels = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class SoundCodes:
    """The code of a recording, and those of its parts with their spans in seconds: (n, 2)."""

    whole: Codes
    parts: Codes
    spans: NDArray[np.float32]


def sound_codes(spectrogram: Levels) -> SoundCodes:
    """The codes of a recording, given by its log-mel spectrogram (frames, bands) in dB.

    Parts are half a second long and begin every 0.12 s. A recording of at most half a second has one, which is all of
    it; of a long one they are farther apart, so that there are never more than an item can have.
    """
    levels = np.asarray(spectrogram, np.float32)
    if levels.ndim != 2 or 0 in levels.shape or not np.isfinite(levels).all():
        raise SoundError(f"a spectrogram is finite numbers (frames, bands), not {levels.dtype} {levels.shape}")
    last = max(0, len(levels) - PART_FRAMES)
    starts = np.arange(0, last + 1, max(STEP_FRAMES, -(-last // (MOST_PARTS - 1))))
    ends = np.minimum(starts + PART_FRAMES, len(levels))
    described = np.stack([_described(levels[a:b]) for a, b in zip(starts, ends, strict=True)])
    spans = (np.stack([starts, ends], 1) / FRAMES_A_SECOND).astype(np.float32)
    return SoundCodes(_signs(_described(levels)[None]), _signs(described), spans)


def _described(levels: Levels) -> NDArray[np.float64]:
    """What a stretch sounds like, whatever its level and, but for a little, wherever it is cut."""
    above = np.maximum(levels.astype(np.float64) - levels.max(), FLOOR) - FLOOR
    power = 10 ** ((above + FLOOR) / 10)
    tones = 10 * np.log10(power.mean(0) + 1e-8)
    course = _resampled(above.reshape(len(above), COARSE, -1).mean(2))
    blocks = [tones, np.diff(tones, prepend=tones[0]), above.std(0), course.ravel()]
    return np.concatenate([_unit(block) for block in blocks])


def _resampled(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """SLICES rows, each the mean of a stretch of these; the nearest where there are fewer."""
    edges = np.linspace(0, len(rows), SLICES + 1)
    bounds = [(int(a), max(int(a) + 1, int(np.ceil(b)))) for a, b in pairwise(edges)]
    return np.stack([rows[min(a, len(rows) - 1) : b].mean(0) for a, b in bounds])


def _unit(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Without its mean and of length one; zeros where all are equal."""
    centered = values - values.mean()
    length = float(np.linalg.norm(centered))
    return centered / length if length > 1e-9 else np.zeros_like(centered)


def _signs(described: NDArray[np.float64]) -> Codes:
    outputs = described @ _directions(described.shape[1])
    return Codes.from_outputs(outputs.astype(np.float32), GRAINS)


@lru_cache(maxsize=2)
def _directions(width: int) -> NDArray[np.float64]:
    return np.random.Generator(np.random.PCG64(SEED)).standard_normal((width, GRAINS.bits))
