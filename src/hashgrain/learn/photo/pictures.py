"""The pictures for fitting, choosing and reporting of `photo`, and the edits that make more of them.

The SHA-256 of a picture's bytes selects its half: an even first byte is for fitting and choosing, an odd one only for
reporting. Of Tiny ImageNet, `val` and the 50 of each class that sort first are reserved for reporting.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as parquet
from PIL import Image, ImageDraw, ImageFilter, ImageOps

from hashgrain.learn.photo.tree import shipped

KEPT_OUT = 50  # of each class of Tiny ImageNet
Generator = np.random.Generator


@dataclass(frozen=True)
class Shot:
    """One picture of a set, as it lies in its file."""

    content: bytes
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()

    @property
    def reported(self) -> bool:
        return int(self.sha256[:2], 16) % 2 == 1

    def open(self) -> Image.Image:
        return ImageOps.exif_transpose(Image.open(io.BytesIO(self.content))).convert("RGB")


def stamps(data: Path) -> list[Shot]:
    rows = parquet.read_table(data / "stamps" / "train.parquet").to_pylist()
    return [
        Shot(row["image"]["bytes"], {key: row[key] for key in ("group", "drawn", "caption", "captions")})
        for row in rows
    ]


def photographs(data: Path) -> list[Shot]:
    return [Shot(path.read_bytes(), {"name": path.stem}) for path in sorted((data / "photos").glob("*.jpg"))]


def tiny_imagenet(data: Path, part: str) -> list[Shot]:
    """`val`; `kept`, the 50 pictures of each class whose hash sorts first; or `rest`, the others, sorted by hash."""
    folder = data / "tiny-imagenet-200"
    pattern = "val-*.parquet" if part == "val" else "train-*.parquet"
    shots = []
    for path in sorted(folder.glob(pattern)):
        for row in parquet.read_table(path, columns=["image", "label", "superclass"]).to_pylist():
            facts = {"label": row["label"], "superclass": row["superclass"]}
            shots.append(Shot(row["image"]["bytes"], facts))
    if part == "val":
        return shots
    of_class: dict[int, int] = {}
    reported: list[Shot] = []
    rest: list[Shot] = []
    for _, shot in sorted({shot.sha256: shot for shot in shots}.items()):
        number = of_class.get(shot.facts["label"], 0)
        of_class[shot.facts["label"]] = number + 1
        (reported if number < KEPT_OUT else rest).append(shot)
    return reported if part == "kept" else rest


def cifar(data: Path, part: str) -> list[Shot]:
    rows = parquet.read_table(data / "cifar-10" / f"{part}.parquet").to_pylist()
    return [Shot(row["image"]["bytes"], {"label": row["label"]}) for row in rows]


def view(image: Image.Image, random: Generator, least: float = 0.3) -> Image.Image:
    """A random edit as on the web: crop, rotation, mirror, colors, caption, scaling, compression."""
    if random.random() < 0.6:
        image = random_crop(image, random, least)
    if random.random() < 0.4:
        image = image.rotate(random.uniform(-12, 12), Image.Resampling.BICUBIC, fillcolor=_color(random))
    if random.random() < 0.5:
        image = ImageOps.mirror(image)
    if random.random() < 0.5:
        gains, shift = random.uniform(0.7, 1.3, 3), random.uniform(-25, 25)
        image = Image.fromarray((np.asarray(image, np.float32) * gains + shift).clip(0, 255).astype(np.uint8))
    if random.random() < 0.1:
        image = ImageOps.grayscale(image).convert("RGB")
    if random.random() < 0.3:
        image = captioned(image, random)
    if random.random() < 0.15:
        image = ImageOps.expand(image, round(min(image.size) * random.uniform(0.02, 0.12)), _color(random))
    if random.random() < 0.1:
        image = screenshot(image, random)
    if random.random() < 0.3:
        share = random.uniform(0.2, 0.6)
        image = image.resize((max(1, round(image.width * share)), max(1, round(image.height * share))))
    elif random.random() < 0.3:
        image = image.filter(ImageFilter.GaussianBlur(max(image.size) * random.uniform(0.002, 0.012)))
    if random.random() < 0.5:
        image = recompressed(image, int(random.integers(10, 60)))
    return image


def random_crop(image: Image.Image, random: Generator, least: float) -> Image.Image:
    width, height = image.size
    side, stretch = random.uniform(least, 1) ** 0.5, np.exp(random.uniform(-0.2, 0.2))
    w, h = min(width, max(1, int(width * side * stretch))), min(height, max(1, int(height * side / stretch)))
    x, y = int(random.integers(0, width - w + 1)), int(random.integers(0, height - h + 1))
    return image.crop((x, y, x + w, y + h))


def captioned(image: Image.Image, random: Generator) -> Image.Image:
    """The picture with a bar at its top or bottom, with random letters."""
    image = image.copy()
    width, height = image.size
    thick = max(1, round(height * random.uniform(0.1, 0.2)))
    top = 0 if random.random() < 0.5 else height - thick
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, top, width, top + thick), fill=_color(random))
    words = "".join(chr(int(random.integers(97, 123))) for _ in range(int(random.integers(4, 30))))
    draw.text((width * 0.05, top + thick * 0.2), words, fill=_color(random), font_size=max(8, thick // 2))
    return image


def screenshot(image: Image.Image, random: Generator) -> Image.Image:
    """The picture in a window with a title bar and a margin."""
    width, height = image.size
    left, top = round(width * random.uniform(0, 0.1)), round(height * random.uniform(0.04, 0.12))
    page = Image.new("RGB", (width + 2 * left, height + top + left), _color(random))
    ImageDraw.Draw(page).rectangle((0, 0, page.width, top), fill=_color(random))
    page.paste(image, (left, top))
    return page


def recompressed(image: Image.Image, quality: int) -> Image.Image:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return Image.open(io.BytesIO(file.getvalue())).convert("RGB")


def _color(random: Generator) -> tuple[int, int, int]:
    red, green, blue = (int(value) for value in random.integers(0, 256, 3))
    return red, green, blue


def kinds_of_photographs(data: Path, shots: list[Shot]) -> list[str]:
    """The most frequent superclass of Tiny ImageNet among the classes under a photograph's closest common ancestor."""
    hierarchy = json.loads((data / "tiny-imagenet-200" / "hierarchy.json").read_text(encoding="utf-8"))
    tree = shipped()
    under: dict[str, Counter[str]] = {}
    for known in hierarchy["classes"]:
        for above in tree.ancestors(known["wnid"][1:]):
            under.setdefault(above, Counter())[known["superclass"]] += 1
    kinds = []
    for shot in shots:
        candidates = [synset for synset in tree.ancestors(shot.facts["name"][1:9]) if synset in under]
        closest = max(candidates, key=lambda synset: (tree.information(synset), synset))
        kinds.append(min(under[closest].items(), key=lambda pair: (-pair[1], pair[0]))[0])
    return kinds
