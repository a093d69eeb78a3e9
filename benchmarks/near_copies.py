"""Changed photographs among 80,000 distractors: is the original the first answer?"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageOps

from hashgrain import Codes, Encoder
from hashgrain.evaluate import near_copy_recall
from references import perceptual_codes
from report import need_data, table, write_section


def main() -> None:
    from hashgrain.learn.data.labelled import load_labelled

    data = need_data()
    photos = [ImageOps.exif_transpose(Image.open(path)).convert("RGB") for path in sorted(data.glob("photos/*.jpg"))]
    distractors = load_labelled(data / "tiny-imagenet-200", 64, ()).inputs
    encoder = Encoder.load("small")
    methods: dict[str, Callable[[list[Image.Image]], Codes]] = {
        "look, 128 bits": encoder.encode,
        "perceptual hash, 64 bits": lambda images: perceptual_codes(images, 8),
        "perceptual hash, 256 bits": lambda images: perceptual_codes(images, 16),
    }
    others = [encoder.codes(distractors), perceptual_codes(distractors, 8), perceptual_codes(distractors, 16)]
    found = [near_copy_recall(encode, photos, other) for encode, other in zip(methods.values(), others, strict=True)]
    rows = [[name, *(f"{recall[name]:.3f}" for recall in found)] for name in found[0]]
    means = [float(np.mean([*recall.values()])) for recall in found]
    rows.append(["**mean**", *(f"**{mean:.3f}**" for mean in means)])
    text = (
        f"{len(photos)} photographs, each changed in one way, asked against the {len(photos)} originals and"
        f" {len(distractors)} other pictures; recall@1, ties counted as the chance of being drawn first.\n\n"
    )
    command = "python benchmarks/near_copies.py"
    write_section("5-near-copies", "Near copies", command, text + table(["change", *methods], rows))


if __name__ == "__main__":
    main()
