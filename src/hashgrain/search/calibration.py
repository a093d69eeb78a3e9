"""What a distance means at a grain: for whole items, and for the nearest part of an item."""

from __future__ import annotations

from hashgrain.models import Bundle, Calibration


def calibrations_of(bundle: Bundle, grain: str) -> tuple[Calibration | None, Calibration | None]:
    """The calibration of whole items and that of parts, each None if the model has none."""
    whole = bundle.calibration.get(grain)
    return whole, None if whole is None else bundle.capped_part_calibration.get(grain)
