"""Corrects the mean of a window of a map, so that it is closer to the features of the window as a picture of its own.

A cell of a map also depends on what is around the window, and on the scale of the picture. So for each size of the
picture and each level of windows, a gain and a shift are fitted for each feature, between the square roots of both:

    sqrt(feature of the part) = max(0, gain * sqrt(mean over the window) + shift)

The key `part_correction` of model.json: {"640": {"2": {"gain": base64 of float16, "shift": the same}, ...}, ...}.
Levels without numbers are not corrected.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hashgrain.errors import BundleError

KEY = "part_correction"
LARGEST = 100.0  # of a gain or a shift
Floats = NDArray[np.float32]


def corrected(pooled: Floats, levels: Sequence[int], numbers: Mapping[int, tuple[Floats, Floats]]) -> Floats:
    """Features (n, parts, width) of the windows of these levels, one level after the other, corrected."""
    features: Floats = pooled.copy()
    start = 0
    for level in levels:
        of_level = slice(start, start + level * level)
        if level in numbers:
            features[:, of_level] = _corrected(pooled[:, of_level], *numbers[level])
        start += level * level
    return features


def corrected_each(pooled: Floats, levels: Sequence[int], numbers: Mapping[int, tuple[Floats, Floats]]) -> Floats:
    """Features (parts, width), each corrected as those of its level in `levels` (parts,)."""
    features: Floats = pooled.copy()
    of_part = np.array(levels)
    for level in set(levels) & set(numbers):
        features[of_part == level] = _corrected(pooled[of_part == level], *numbers[level])
    return features


def _corrected(pooled: Floats, gain: Floats, shift: Floats) -> Floats:
    roots = np.sqrt(np.maximum(pooled, 0.0))
    return np.asarray(np.maximum(roots * gain + shift, 0.0) ** 2, np.float32)


def read_correction(others: Mapping[str, Any], edge: int, width: int, model: str) -> dict[int, tuple[Floats, Floats]]:
    """The gain and the shift (width,) of each level, for pictures of this size, out of the keys of a bundle."""
    sizes = others.get(KEY, {})
    if not isinstance(sizes, Mapping) or not isinstance(levels := sizes.get(str(edge), {}), Mapping):
        raise _unusable(model, "it is no table of sizes and levels")
    found = {}
    for level, numbers in levels.items():
        if not (isinstance(level, str) and level.isascii() and level.isdigit() and len(level) < 4):
            raise _unusable(model, f"{level!r:.40} is no level of windows")
        if not isinstance(numbers, Mapping):
            raise _unusable(model, f"level {level} has no numbers")
        found[int(level)] = (
            _numbers(numbers.get("gain"), width, model, level),
            _numbers(numbers.get("shift"), width, model, level),
        )
    return found


def describe_correction(numbers: Mapping[int, Mapping[int, tuple[Floats, Floats]]]) -> dict[str, Any]:
    """What a bundle keeps of the gains and shifts by size and level, as `read_correction` reads it."""
    return {
        str(edge): {str(level): {"gain": _text(gain), "shift": _text(shift)} for level, (gain, shift) in levels.items()}
        for edge, levels in numbers.items()
    }


def _text(values: Floats) -> str:
    return base64.b64encode(values.astype("<f2").tobytes()).decode()


def _numbers(text: Any, width: int, model: str, level: str) -> Floats:
    if not isinstance(text, str) or len(text) != (2 * width + 2) // 3 * 4:
        raise _unusable(model, f"level {level} is not of {width} features")
    try:
        values = np.frombuffer(base64.b64decode(text, validate=True), "<f2").astype(np.float32)
    except (binascii.Error, ValueError):
        raise _unusable(model, f"level {level} is not base64") from None
    if len(values) != width or not (np.abs(values) <= LARGEST).all():  # which also holds for no NaN
        raise _unusable(model, f"level {level} goes past {LARGEST:g}")
    return values


def _unusable(model: str, reason: str) -> BundleError:
    return BundleError(f"the correction of parts of model {model!r} cannot be used: {reason}. Get the bundle again")
