"""Models: bundles and the sessions that run them, those that ship, and what turns words into codes.

Names are imported on first use: reading a phrase loads no bundle.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hashgrain.lazy import lazy_names

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


__getattr__ = lazy_names(__name__, _HOMES)
