"""Recall of edited pictures, under thirteen edits that are common on the web."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageOps

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


def jpeg(quality: int) -> Change:
    def change(image: Image.Image) -> Image.Image:
        file = io.BytesIO()
        image.save(file, "jpeg", quality=quality)
        return Image.open(file).convert("RGB")

    return change


def color_shift(image: Image.Image) -> Image.Image:
    red, green, blue = image.split()
    return Image.merge("RGB", (red.point(lambda v: min(255, v * 1.15)), green, blue.point(lambda v: v * 0.85)))


def caption(image: Image.Image) -> Image.Image:
    """A white bar with words over the lower 15 %."""
    changed = image.copy()
    draw = ImageDraw.Draw(changed)
    top = round(image.height * 0.85)
    draw.rectangle((0, top, image.width, image.height), fill="white")
    draw.text((10, top + 5), "A caption somebody put here", fill="black", font_size=max(8, image.height // 20))
    return changed


def rotate(degrees: float) -> Change:
    return lambda image: image.rotate(degrees, Image.Resampling.BICUBIC)


# After a mild edit, anybody would still call the picture the same.
MILD: Mapping[str, Change] = {
    "JPEG quality 10": jpeg(10),
    "resize to 25 %": lambda image: image.resize((max(1, image.width // 4), max(1, image.height // 4))),
    "blur": lambda image: image.filter(ImageFilter.GaussianBlur(max(1, max(image.size) / 200))),
    "mirror": ImageOps.mirror,
    "caption bar": caption,
    "crop to 80 % of the area": crop(0.8),
    "gray": lambda image: ImageOps.grayscale(image).convert("RGB"),
    "color shift": color_shift,
    "rotate 8 degrees": rotate(8),
    "border": lambda image: ImageOps.expand(image, max(1, min(image.size) // 12), "white"),
}
CHANGES: Mapping[str, Change] = {
    **MILD,
    "rotate 30 degrees": rotate(30),
    "crop to 50 % of the area": crop(0.5),
    "crop to 30 % of the area": crop(0.3),
}


def near_copy_recall(
    encode: Callable[[list[Image.Image]], Codes],
    photos: Sequence[Image.Image],
    distractors: Codes | None = None,
    changes: Mapping[str, Change] = CHANGES,
) -> dict[str, float]:
    """Recall@1 for each change: queries are changed RGB photos, the database is the original photos and distractors."""
    if not photos:
        raise CodesError("near copies: no pictures to change; give one or more")
    originals = encode(list(photos))
    others = originals[:0] if distractors is None else distractors
    return {
        name: recall_at_1(encode([change(photo) for photo in photos]), originals, others)
        for name, change in changes.items()
    }


def recall_at_1(queries: Codes, originals: Codes, others: Codes) -> float:
    """The share of queries whose original is the nearest; in a tie, the probability that it comes first."""
    if not len(queries) == len(originals) or not queries.grains.bits == originals.grains.bits == others.grains.bits:
        raise CodesError("near copies: every query has one original, and all codes are of one width")
    recalls = []
    for i, query in enumerate(queries.words):
        own = int(np.bitwise_count(originals.words[i] ^ query).sum())
        near = np.concatenate(
            [np.bitwise_count(part.words ^ query).sum(axis=1) for part in (originals, others)], dtype=int
        )
        recalls.append(0.0 if (near < own).any() else 1 / int((near == own).sum()))
    return float(np.mean(recalls))
