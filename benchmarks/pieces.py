"""Pieces of photographs to look for, and the pictures among which they are looked for.

Photographs of the reporting half (an odd first byte of their SHA-256) make the questions; no choice has seen them, but
the pretrained backbone may have seen pictures like them in training. 5,000 of the other pictures in the library are
sharp crops and collages of photographs of the other half, the rest are of Tiny ImageNet (its `val`, and the 50 of each
class that nothing was fitted on).
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter

from hashgrain.learn.photo.pictures import photographs, tiny_imagenet
from report import need_data

EDGE = 1000  # pixels of a photograph in the library, at most
PLANTED = (0.5, 0.25, 0.12, 0.06, 0.03)
CROPS = (0.3, 0.15, 0.05)
SHARP = 5_000
TURNED = "turned 90, --turned"
Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Question:
    kind: str
    picture: Image.Image
    target: str  # the file name of the picture to find
    box: Box | None  # where in it; None for the whole
    without: frozenset[str]  # files that show it too, and do not count


def halves() -> tuple[list[Image.Image], list[Image.Image]]:
    """Photographs for questions, and those for other pictures."""
    reported: list[Image.Image] = []
    others: list[Image.Image] = []
    for shot in photographs(need_data()):
        image = shot.open()
        image.thumbnail((EDGE, EDGE))
        (reported if shot.reported else others).append(image)
    return reported, others


def middle(image: Image.Image) -> Image.Image:
    width, height = image.size
    return image.crop((round(width * 0.15), round(height * 0.15), round(width * 0.85), round(height * 0.85)))


def recompressed(image: Image.Image, quality: int = 80) -> Image.Image:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return Image.open(io.BytesIO(file.getvalue())).convert("RGB")


def planted(
    thing: Image.Image, page: Image.Image, share: float, random: np.random.Generator
) -> tuple[Image.Image, Box]:
    """A thing pasted into a page at this share of its area, somewhere, with another brightness and a soft edge."""
    scale = (share * page.width * page.height / (thing.width * thing.height)) ** 0.5
    scale = min(scale, 0.95 * page.width / thing.width, 0.95 * page.height / thing.height)
    width, height = round(thing.width * scale), round(thing.height * scale)
    small = ImageEnhance.Brightness(thing.resize((width, height), Image.Resampling.LANCZOS))
    soft = Image.new("L", (width, height), 0)
    soft.paste(255, (2, 2, width - 2, height - 2))
    left, top = int(random.integers(0, page.width - width + 1)), int(random.integers(0, page.height - height + 1))
    result = page.copy()
    blurred = soft.filter(ImageFilter.GaussianBlur(1))
    result.paste(small.enhance(float(random.uniform(0.8, 1.2))), (left, top), blurred)
    edges = (left / page.width, top / page.height, (left + width) / page.width, (top + height) / page.height)
    return recompressed(result), edges


def mosaic(tiles: Sequence[Image.Image]) -> Image.Image:
    page = Image.new("RGB", (EDGE, EDGE))
    half = EDGE // 2
    for place, tile in enumerate(tiles):
        page.paste(tile.resize((half, half), Image.Resampling.LANCZOS), (half * (place % 2), half * (place // 2)))
    return recompressed(page)


def asked_pictures(seed: int, reported: list[Image.Image]) -> tuple[dict[str, Image.Image], list[Question]]:
    """Pictures of the library by file name, and the questions about them. One in ten photographs stays out of the
    library with all that shows it: these are the absent questions."""
    random = np.random.default_rng(seed)
    order = random.permutation(len(reported)).tolist()
    absent, there = order[: len(order) // 10], order[len(order) // 10 :]
    files = {f"plain-{n}.jpg": reported[n] for n in there}
    shows: dict[int, set[str]] = {n: {f"plain-{n}.jpg"} for n in there}
    asked: list[tuple[str, Image.Image, str, Box | None, int]] = []
    for share in PLANTED:
        for place, n in enumerate(there):
            page = there[(place + len(there) // 2) % len(there)]
            name = f"planted-{share}-{n}.jpg"
            files[name], box = planted(middle(reported[n]), reported[page], share, random)
            shows[n].add(name)
            shows[page].add(name)
            asked.append((f"planted {share:.0%}", middle(reported[n]), name, box, n))
    for start in range(0, len(there) - 3, 4):
        four = there[start : start + 4]
        name = f"mosaic-{start}.jpg"
        files[name] = mosaic([reported[n] for n in four])
        for place, n in enumerate(four):
            left, top = place % 2 / 2, place // 2 / 2
            shows[n].add(name)
            asked.append(("tile of 2x2", reported[n], name, (left, top, left + 0.5, top + 0.5), n))
    for share in CROPS:
        for n in there:
            width, height = (share**0.5 * edge for edge in reported[n].size)
            x, y = random.uniform(0, reported[n].width - width), random.uniform(0, reported[n].height - height)
            crop = reported[n].crop((round(x), round(y), round(x + width), round(y + height)))
            wide, high = reported[n].size
            box = (x / wide, y / high, (x + width) / wide, (y + height) / high)
            asked.append((f"crop {share:.0%}", crop, f"plain-{n}.jpg", box, n))
    for kind in ("turned 90", TURNED):
        asked += [(kind, reported[n].rotate(90, expand=True), f"plain-{n}.jpg", None, n) for n in there]
    asked += [("absent", middle(reported[n]), "", None, -1) for n in absent]
    shows[-1] = set()
    return files, [
        Question(kind, picture, target, box, frozenset(shows[n] - {target})) for kind, picture, target, box, n in asked
    ]


def other_pictures(others: list[Image.Image], count: int) -> Iterator[tuple[str, bytes]]:
    """Sharp crops and collages of other photographs, then small pictures."""
    random = np.random.default_rng(99)
    for number in range(min(SHARP, count)):
        if number % 3 == 0:
            tiles = [others[int(n)] for n in random.integers(0, len(others), 4)]
            image = mosaic([_crop(tile, random) for tile in tiles])
        elif number % 3 == 1:
            thing, page = (others[int(n)] for n in random.integers(0, len(others), 2))
            image, _ = planted(middle(_crop(thing, random)), page, float(random.uniform(0.03, 0.5)), random)
        else:
            image = _crop(others[int(random.integers(0, len(others)))], random)
        file = io.BytesIO()
        image.save(file, "JPEG", quality=85)
        yield f"sharp-{number}.jpg", file.getvalue()
    small = [*tiny_imagenet(need_data(), "val"), *tiny_imagenet(need_data(), "kept")]
    for number, shot in enumerate(small[: max(0, count - SHARP)]):
        yield f"small-{number}.jpg", shot.content


def _crop(image: Image.Image, random: np.random.Generator) -> Image.Image:
    share = float(random.uniform(0.1, 0.9)) ** 0.5
    width, height = round(image.width * share), round(image.height * share)
    left, top = int(random.integers(0, image.width - width + 1)), int(random.integers(0, image.height - height + 1))
    return image.crop((left, top, left + width, top + height))


def filled(folder: Path, pictures: Iterator[tuple[str, bytes]]) -> Path:
    """A folder with these files, made once."""
    if not (folder / "done").exists():
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in pictures:
            (folder / name).write_bytes(content)
        (folder / "done").touch()
    return folder


def encoded(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=90)
    return file.getvalue()
