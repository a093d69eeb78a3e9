"""What a distance means at a grain: for whole items, and for the nearest part of an item."""

from __future__ import annotations

from dataclasses import replace

from hashgrain.models import Bundle, Calibration


def calibrations_of(bundle: Bundle, grain: str) -> tuple[Calibration | None, Calibration | None]:
    """The calibration of whole items and that of parts, each None if the model has none.

    The probability for a part is capped by that for a whole at the same distance: an item has many parts, so one of
    them is near more easily. Exact search for both at once relies on this.
    """
    whole, part = bundle.calibration.get(grain), bundle.part_calibration.get(grain)
    if whole is None or part is None:
        return whole, None
    capped = tuple(map(min, whole.probabilities, part.probabilities))
    return whole, replace(part, probabilities=capped)
