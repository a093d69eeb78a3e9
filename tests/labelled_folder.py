"""Pictures that a small network learns in seconds: two kinds of three things each, by color and by stripes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

KINDS = (("warm", (220, 120, 60)), ("cold", (60, 120, 220)))
THINGS = (("wide", 16), ("middle", 8), ("narrow", 4))


def draw_folder(top: Path, each: int = 20, size: int = 48) -> Path:
    """kind/kind-thing/number.png, `each` pictures of every thing."""
    dice = np.random.default_rng(0)
    for kind, color in KINDS:
        for thing, period in THINGS:
            place = top / kind / f"{kind}-{thing}"
            place.mkdir(parents=True)
            for i in range(each):
                stripes = (np.arange(size) + dice.integers(0, 16)) // (period // 2) % 2
                pixels = np.tile(stripes[None, :, None] * 0.5 + 0.5, (size, 1, 1)) * np.array(color)
                noisy = pixels + dice.normal(0, 12, (size, size, 3))
                Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(place / f"{i}.png")
    return top
