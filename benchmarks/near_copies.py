"""Changed photographs among 80,000 distractors: is the original the first answer?"""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw, ImageOps

from hashgrain import Codes, Encoder
from references import perceptual_codes
from report import need_data, table, write_section


def crop(share: float) -> Callable[[Image.Image], Image.Image]:
    """The middle, `share` of the area."""

    def change(image: Image.Image) -> Image.Image:
        width, height = (round(edge * share**0.5) for edge in image.size)
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


CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "crop to 80 % of the area": crop(0.8),
    "crop to 50 % of the area": crop(0.5),
    "resize to 25 %": lambda image: image.resize((max(1, image.width // 4), max(1, image.height // 4))),
    "JPEG quality 20": jpeg,
    "flip": ImageOps.mirror,
    "rotate 8 degrees": lambda image: image.rotate(8, Image.Resampling.BICUBIC),
    "colour shift": colour_shift,
    "caption bar": caption,
}


def recall_at_1(queries: Codes, originals: Codes, others: Codes) -> float:
    """How often the original is the nearest; where others are as near, the chance that it is drawn first."""
    found = []
    for i, query in enumerate(queries.words):
        own = int(np.bitwise_count(originals.words[i] ^ query).sum())
        near = np.concatenate(
            [np.bitwise_count(part.words ^ query).sum(axis=1) for part in (originals, others)], dtype=int
        )
        found.append(0.0 if (near < own).any() else 1 / int((near == own).sum()))
    return float(np.mean(found))


def main() -> None:
    from hashgrain.learn.data import load_labelled

    data = need_data()
    photos = [ImageOps.exif_transpose(Image.open(path)).convert("RGB") for path in sorted(data.glob("photos/*.jpg"))]
    distractors = load_labelled(data / "tiny-imagenet-200", 64).pixels
    encoder = Encoder.load()
    methods: dict[str, Callable[[list[Image.Image]], Codes]] = {
        "look, 128 bits": encoder.encode,
        "perceptual hash, 64 bits": lambda images: perceptual_codes(images, 8),
        "perceptual hash, 256 bits": lambda images: perceptual_codes(images, 16),
    }
    others = [encoder.codes(distractors), perceptual_codes(distractors, 8), perceptual_codes(distractors, 16)]
    originals = [encode(photos) for encode in methods.values()]
    rows, sums = [], np.zeros(len(methods))
    for name, change in CHANGES.items():
        changed = [change(photo) for photo in photos]
        scores = [
            recall_at_1(encode(changed), own, other)
            for encode, own, other in zip(methods.values(), originals, others, strict=True)
        ]
        sums += scores
        rows.append([name, *(f"{score:.3f}" for score in scores)])
    rows.append(["**mean**", *(f"**{score / len(CHANGES):.3f}**" for score in sums)])
    text = (
        f"{len(photos)} photographs, each changed in one way, asked against the {len(photos)} originals and"
        f" {len(distractors)} other pictures; recall@1, ties counted as the chance of being drawn first.\n\n"
    )
    command = "python benchmarks/near_copies.py"
    write_section("5-near-copies", "Near copies", command, text + table(["change", *methods], rows))


if __name__ == "__main__":
    main()
