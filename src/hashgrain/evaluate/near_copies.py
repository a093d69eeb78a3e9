"""Is a changed picture still found? The eight changes that pictures on their way through the web suffer most."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageOps

from hashgrain.codes import Codes
from hashgrain.errors import CodesError

Change = Callable[[Image.Image], Image.Image]


def crop(share: float) -> Change:
    """The middle, `share` of the area."""

    def change(image: Image.Image) -> Image.Image:
        width, height = (max(1, round(edge * share**0.5)) for edge in image.size)
        left, top = (image.width - width) // 2, (image.height - height) // 2
        return image.crop((left, top, left + width, top + height))

    return change


def jpeg(image: Image.Image) -> Image.Image:
    file = io.BytesIO()
    image.save(file, "jpeg", quality=20)
    return Image.open(file).convert("RGB")


def colour_shift(image: Image.Image) -> Image.Image:
    red, green, blue = image.split()
    return Image.merge("RGB", (red.point(lambda v: min(255, v * 1.15)), green, blue.point(lambda v: v * 0.85)))


def caption(image: Image.Image) -> Image.Image:
    """A white bar with words over the lower 15 %."""
    changed = image.copy()
    draw = ImageDraw.Draw(changed)
    top = round(image.height * 0.85)
    draw.rectangle((0, top, image.width, image.height), fill="white")
    draw.text((10, top + 5), "A caption somebody put here", fill="black")
    return changed


CHANGES: Mapping[str, Change] = {
    "crop to 80 % of the area": crop(0.8),
    "crop to 50 % of the area": crop(0.5),
    "resize to 25 %": lambda image: image.resize((max(1, image.width // 4), max(1, image.height // 4))),
    "JPEG quality 20": jpeg,
    "flip": ImageOps.mirror,
    "rotate 8 degrees": lambda image: image.rotate(8, Image.Resampling.BICUBIC),
    "colour shift": colour_shift,
    "caption bar": caption,
}


def near_copy_recall(
    encode: Callable[[list[Image.Image]], Codes],
    photos: Sequence[Image.Image],
    distractors: Codes | None = None,
    changes: Mapping[str, Change] = CHANGES,
) -> dict[str, float]:
    """For each change recall@1: changed RGB photos asked against all the photos as they were and the distractors."""
    if not photos:
        raise CodesError("near copies: no pictures to change; give one or more")
    originals = encode(list(photos))
    others = originals[:0] if distractors is None else distractors
    return {
        name: recall_at_1(encode([change(photo) for photo in photos]), originals, others)
        for name, change in changes.items()
    }


def recall_at_1(queries: Codes, originals: Codes, others: Codes) -> float:
    """How often the original is the nearest; where others are as near, the chance that it is drawn first."""
    if not len(queries) == len(originals) or not queries.grains.bits == originals.grains.bits == others.grains.bits:
        raise CodesError("near copies: every query has one original, and all codes are of one width")
    found = []
    for i, query in enumerate(queries.words):
        own = int(np.bitwise_count(originals.words[i] ^ query).sum())
        near = np.concatenate(
            [np.bitwise_count(part.words ^ query).sum(axis=1) for part in (originals, others)], dtype=int
        )
        found.append(0.0 if (near < own).any() else 1 / int((near == own).sum()))
    return float(np.mean(found))
