"""A medium by its name, as messages to workers have it."""

from __future__ import annotations

from hashgrain.media.medium import Medium
from hashgrain.media.pictures import PICTURES


def medium_named(name: str) -> Medium:
    """The medium of this name. No other is loaded: sounds need numpy."""
    if name == PICTURES.name:
        return PICTURES
    from hashgrain.media.registry import named

    return named(name)
