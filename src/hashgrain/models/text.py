"""Text queries by classes: the table of ImageNet's classes in a bundle, and the real-valued code of a phrase.

The key `text` of model.json: {"classes": "imagenet-1k", "scale": s, "table": base64 of int8 (1000, bits)}. Row c times
s says, from -1 to 1, how each bit of a picture relates to class c.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hashgrain.errors import BundleError
from hashgrain.models.dictionary import CLASSES

KEY = "text"
NAME = "imagenet-1k"
LARGEST = 127
MOST = 1.01  # largest value in a row, with room for rounding


def read_table(others: Mapping[str, Any], bits: int, model: str) -> NDArray[np.float32] | None:
    """The rows of the classes (1000, bits), out of the keys of a bundle; None where it knows no words."""
    if KEY not in others:
        return None
    text = others[KEY]
    if not isinstance(text, Mapping) or not isinstance(text.get("table"), str):
        raise _unusable(model, "no table")
    if text.get("classes") != NAME:
        raise _unusable(model, f"they are not over the classes of {NAME}; a newer HashGrain may read them")
    scale, size = text.get("scale"), CLASSES * bits
    if isinstance(scale, bool) or not isinstance(scale, (int, float)) or not 0 < scale <= MOST:
        raise _unusable(model, "their scale is no number that fits")
    if len(text["table"]) != (size + 2) // 3 * 4:
        raise _unusable(model, f"their table is not of {CLASSES} classes and {bits} bits")
    try:
        raw = base64.b64decode(text["table"], validate=True)
    except (binascii.Error, ValueError):
        raise _unusable(model, "their table is not base64") from None
    if len(raw) != size:
        raise _unusable(model, f"their table is not of {CLASSES} classes and {bits} bits")
    levels = np.frombuffer(raw, np.int8).reshape(CLASSES, bits)
    table = np.asarray(levels * np.float32(scale), np.float32)
    if np.abs(table).max() > MOST:
        raise _unusable(model, "their rows go past 1")
    return table


def describe_table(rows: NDArray[np.floating[Any]]) -> dict[str, Any]:
    """What a bundle keeps of rows (1000, bits), as `read_table` reads it."""
    scale = float(np.abs(rows).max()) / LARGEST
    levels = np.rint(rows / scale).astype(np.int8)
    return {"classes": NAME, "scale": scale, "table": base64.b64encode(levels.tobytes()).decode()}


def text_code(table: NDArray[np.float32], weights: NDArray[np.float32]) -> NDArray[np.float32]:
    """A phrase's real-valued code (bits,): the rows of its classes, less the mean row."""
    return np.asarray(weights @ table - table.mean(axis=0), np.float32)


def _unusable(model: str, reason: str) -> BundleError:
    return BundleError(f"the words of model {model!r} cannot be used: {reason}. Get the bundle again")
