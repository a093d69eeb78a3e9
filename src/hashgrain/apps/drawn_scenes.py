"""Pictures for the demo, drawn in code: kinds of things, each thing in many looks, each look with near copies.

Nothing here is loaded from anywhere, and every picture is the same for the same seed, so the demo knows which
answers are right.
"""

from __future__ import annotations

import csv
import io
import math
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageOps

from hashgrain.apps.drawings import KINDS, SIZE, Canvas, Dice


@dataclass(frozen=True)
class Scene:
    name: str
    kind: str
    thing: str
    look: str
    image: Image.Image


def scenes(*, looks_per_thing: int = 6, copies: int = 2, seed: int = 0) -> Iterator[Scene]:
    """Every look of every thing, each followed by its near copies."""
    for kind, things in KINDS.items():
        for thing, draw in things.items():
            for number in range(looks_per_thing):
                look = f"{thing}-{number + 1:02}"
                dice = np.random.default_rng((seed, zlib.crc32(look.encode())))
                picture = _photographed(draw, dice)
                yield Scene(f"{look}.jpg", kind, thing, look, picture)
                for copy, change in enumerate(dice.permutation(len(CHANGES))[:copies]):
                    yield Scene(f"{look}-copy{copy + 1}.jpg", kind, thing, look, CHANGES[change](picture, dice))


def write_scenes(folder: Path, *, looks_per_thing: int = 6, copies: int = 2, seed: int = 0) -> Path:
    """Write the pictures as folder/kind/thing/name and their labels as folder/labels.csv."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "labels.csv").open("w", newline="", encoding="utf-8") as file:
        labels = csv.writer(file)
        labels.writerow(["name", "kind", "thing", "look"])
        for scene in scenes(looks_per_thing=looks_per_thing, copies=copies, seed=seed):
            place = folder / scene.kind / scene.thing
            place.mkdir(parents=True, exist_ok=True)
            scene.image.save(place / scene.name, quality=88)
            labels.writerow([scene.name, scene.kind, scene.thing, scene.look])
    return folder


def _photographed(draw: Callable[[Canvas], None], dice: Dice) -> Image.Image:
    """Painted large, scaled down, then given the grain, light and softness of a photograph."""
    canvas = Canvas(dice)
    draw(canvas)
    image = canvas.image.resize(SIZE, Image.Resampling.LANCZOS).filter(ImageFilter.GaussianBlur(dice.uniform(0.2, 0.7)))
    pixels = np.asarray(image, np.float32)
    coarse = Image.fromarray(dice.normal(128, 30, (12, 16)).clip(0, 255).astype(np.uint8))
    texture = np.asarray(coarse.resize(SIZE, Image.Resampling.BICUBIC), np.float32)[:, :, None] - 128
    grain = dice.normal(0, dice.uniform(3, 8), (SIZE[1], SIZE[0], 1))
    down, across = np.mgrid[-1 : 1 : SIZE[1] * 1j, -1 : 1 : SIZE[0] * 1j]
    vignette = 1 - dice.uniform(0.05, 0.25) * (down**2 + across**2)[:, :, None] / 2
    lit = (pixels + 0.25 * texture + grain) * vignette * dice.uniform(0.85, 1.12)
    return Image.fromarray(lit.clip(0, 255).astype(np.uint8))


def _crop(image: Image.Image, dice: Dice) -> Image.Image:
    share = math.sqrt(dice.uniform(0.75, 0.85))
    width, height = round(image.width * share), round(image.height * share)
    left, top = dice.integers(0, image.width - width + 1), dice.integers(0, image.height - height + 1)
    return image.crop((int(left), int(top), int(left) + width, int(top) + height))


def _compress(image: Image.Image, dice: Dice) -> Image.Image:
    file = io.BytesIO()
    image.save(file, "jpeg", quality=int(dice.integers(15, 30)))
    return Image.open(file).convert("RGB")


def _caption(image: Image.Image, dice: Dice) -> Image.Image:
    changed = image.copy()
    top = round(image.height * dice.uniform(0.84, 0.9))
    ImageDraw.Draw(changed).rectangle((0, top, image.width, image.height), fill="white")
    ImageDraw.Draw(changed).text((8, top + 5), "seen on holiday", fill="black")
    return changed


CHANGES: tuple[Callable[[Image.Image, Dice], Image.Image], ...] = (
    _crop,
    _compress,
    _caption,
    lambda image, dice: image.resize((image.width // 3, image.height // 3)),
    lambda image, dice: ImageOps.mirror(image),
    lambda image, dice: image.rotate(dice.uniform(3, 7), Image.Resampling.BICUBIC),
    lambda image, dice: ImageEnhance.Color(ImageEnhance.Brightness(image).enhance(1.15)).enhance(0.7),
)
