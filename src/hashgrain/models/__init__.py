"""Models: the bundle and the session that runs it, those that ship, and what turns words into codes.

Names are imported on first use: reading a phrase loads no bundle.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hashgrain.models.bundle import Bundle as Bundle
    from hashgrain.models.description import Calibration as Calibration
    from hashgrain.models.description import Threshold as Threshold
    from hashgrain.models.encoder import Encoder as Encoder
    from hashgrain.models.tower import TextTower as TextTower

_HOMES = {
    "Bundle": "bundle",
    "Calibration": "description",
    "Encoder": "encoder",
    "TextTower": "tower",
    "Threshold": "description",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"hashgrain.models.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'hashgrain.models' has no attribute {name!r}")
