"""Every medium there is. To add one: its module, its line here, its test."""

from __future__ import annotations

from hashgrain.media.medium import Medium
from hashgrain.media.pictures import PICTURES
from hashgrain.media.sound import SOUNDS

MEDIA: tuple[Medium, ...] = (PICTURES, SOUNDS)


def named(name: str) -> Medium:
    return next(medium for medium in MEDIA if medium.name == name)
