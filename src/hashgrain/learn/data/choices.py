"""What recipes choose from, without torch: they can be listed and read where nothing can be trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from hashgrain.types import Fit

Trained = Literal["head", "last", "lora", "all"]
# What a backbone begins with, where it is no file: drawn, as published, or as a pip package brings it.
RANDOM, HUB, PIP = "random", "hub", "pip"


@dataclass(frozen=True)
class Augmentation:
    smallest_crop: float = 0.35  # of the area
    aspect: float = 1.33
    flip: float = 0.5
    rotate: float = 10.0  # degrees either way, in half of the views
    brightness: float = 0.3
    contrast: float = 0.3
    color: float = 0.1  # gain of each channel, either way
    gray: float = 0.05
    blur: float = 0.1  # share of views taken through half the resolution
    bar: float = 0.1  # share of views with a bar over the upper or lower edge

    @classmethod
    def none(cls) -> Augmentation:
        """The picture as it is."""
        return cls(1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)


# Of a size, in a sentence: what becomes of a picture of another shape.
FITTED: dict[Fit, str] = {
    "squash": "the whole picture squashed to",
    "fit": "the whole picture on gray, within",
    "crop": "the middle of the picture, scaled to",
}
