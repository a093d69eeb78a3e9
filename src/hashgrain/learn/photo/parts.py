"""Fits and calibrates the parts of `photo`, on photographs of the choosing half."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hashgrain.codes import Codes, Words
from hashgrain.evaluate.near_copies import MILD
from hashgrain.learn.photo.calibrate import calibration
from hashgrain.learn.photo.pictures import Shot, photographs
from hashgrain.media import open_picture
from hashgrain.media.cropping import pixels_of
from hashgrain.models import Bundle, Calibration, Encoder
from hashgrain.models.description import Window
from hashgrain.models.detail import DEFAULT, DETAILS, detail_named, windows
from hashgrain.models.part_correction import KEY, describe_correction
from hashgrain.models.parts import PartEncoder, pool
from hashgrain.models.probabilities import Pairs

HALFWAY = 0.5  # of the way from no gain to the fitted one: nearer on photographs left out than either end
PAGES, PASTED = 2, 4  # pages of each photograph at each level, and crops pasted in one
LARGEST = 1400  # pixels of a page, either way
SHARES = (0.5, 0.3, 0.15, 0.05)  # of the area of a photograph, that crops of it show
Floats = NDArray[np.float32]
Pixels = NDArray[np.uint8]


def with_parts(bundle: Bundle, data: Path, others: Sequence[Shot]) -> Bundle:
    """The bundle with what brings its parts nearer to pictures of their own, and with what their distances mean.
    `others` are pictures that none of the photographs is a piece of."""
    shots = [shot for shot in photographs(data) if not shot.reported]
    correction = describe_correction(fitted_correction(Encoder(bundle), shots))
    corrected = replace(bundle, others={**bundle.others, KEY: correction}, part_calibration={})
    return replace(corrected, part_calibration=part_calibration(Encoder(corrected), shots, others))


def fitted_correction(encoder: Encoder, shots: Sequence[Shot]) -> dict[int, dict[int, tuple[Floats, Floats]]]:
    """The gain and the shift of each feature, by size and level; see `models/part_correction`. Fitted on crops of
    photographs, pasted at windows of others: what lies around a thing is seldom what a picture of it alone shows."""
    images = [shot.open() for shot in shots]
    looks = {(look.edge, level) for detail in DETAILS for look in detail.looks for level in look.levels}
    numbers: dict[int, dict[int, tuple[Floats, Floats]]] = {edge: {} for edge, _ in sorted(looks)}
    for level in sorted({level for _, level in looks}):
        pages = list(_pages(images, level))
        crops = [_sized(crop, encoder.bundle.size) for page in pages for crop in page.crops]
        roots = np.sqrt(encoder.outputs_and_features(np.stack(crops))[1])
        for edge in sorted(edge for edge, other in looks if other == level):
            maps = encoder.maps((_sized(page.image, (edge, edge)) for page in pages), (edge, edge))
            pooled = [pool(map_[None], page.windows)[0] for map_, page in zip(maps, pages, strict=True)]
            numbers[edge][level] = _line(np.sqrt(np.concatenate(pooled)), roots)
    return numbers


@dataclass(frozen=True)
class _Page:
    """A photograph with crops of others pasted at some of its windows."""

    image: Image.Image
    windows: tuple[Window, ...]
    crops: tuple[Image.Image, ...]


def _pages(images: Sequence[Image.Image], level: int) -> Iterator[_Page]:
    """For each photograph some pages, each with crops at windows that do not overlap."""
    random = np.random.default_rng(level)
    every = windows((level,))
    for number in range(PAGES * len(images)):
        page = images[number % len(images)].copy()
        page.thumbnail((LARGEST, LARGEST))
        chosen: list[Window] = []
        for at in random.permutation(len(every)).tolist():
            if not any(_overlap(every[at], other) for other in chosen) and len(chosen) < PASTED:
                chosen.append(every[at])
        crops = []
        for window in chosen:
            other = int(random.integers(1, len(images)))
            crop = _random_crop(images[(number + other) % len(images)], float(random.uniform(0.15, 0.8)), random)
            left, top, right, bottom = pixels_of(window, page.size)
            page.paste(crop.resize((right - left, bottom - top), Image.Resampling.LANCZOS), (left, top))
            crops.append(crop)
        yield _Page(page, tuple(chosen), tuple(crops))


def _overlap(one: Window, other: Window) -> bool:
    return max(one[0], other[0]) < min(one[2], other[2]) and max(one[1], other[1]) < min(one[3], other[3])


def _sized(image: Image.Image, size: tuple[int, int]) -> Pixels:
    return open_picture(image, size=size).pixels


def _random_crop(image: Image.Image, share: float, random: np.random.Generator) -> Image.Image:
    """A part of a picture with its proportions and this share of its area."""
    width, height = (max(8, round(edge * share**0.5)) for edge in image.size)
    left = int(random.integers(0, image.width - width + 1))
    top = int(random.integers(0, image.height - height + 1))
    return image.crop((left, top, left + width, top + height))


def _line(given: Floats, wanted: Floats) -> tuple[Floats, Floats]:
    """The gain and the shift of each column that bring one nearer to the other."""
    means, targets = given.mean(axis=0), wanted.mean(axis=0)
    spread = ((given - means) ** 2).sum(axis=0)
    slope = ((given - means) * (wanted - targets)).sum(axis=0) / np.maximum(spread, 1e-6)
    gain = 1 + HALFWAY * (slope - 1)
    return gain, targets - gain * means


def part_calibration(encoder: Encoder, shots: Sequence[Shot], others: Sequence[Shot]) -> Mapping[str, Calibration]:
    """What the distance of the nearest part says of whether a query shows a piece of a picture, at every grain."""
    return {
        grain: calibration(grain, encoder.grains[grain], pairs.apart, pairs)
        for grain, pairs in part_pairs(encoder, shots, others).items()
    }


def part_pairs(encoder: Encoder, shots: Sequence[Shot], others: Sequence[Shot]) -> Mapping[str, Pairs]:
    """At every grain, the distances of crops of photographs, each changed a little, to the nearest part of the picture
    that they are of, and of other pictures. `others` are more pictures that no crop is of."""
    part_encoder = PartEncoder(encoder, detail_named(DEFAULT), trusted=True)
    parts = np.stack(list(part_encoder.words(part_encoder.open(shot.content) for shot in [*shots, *others])))
    queries, owners = [], []
    for owner, image in enumerate(_crops(shots)):
        queries.append(encoder.codes(_sized(image, encoder.bundle.size)[None]).words[0])
        owners.append(owner % len(shots))
    pairs = {}
    for grain in encoder.grains:
        nearest = _nearest_parts(np.stack(queries), parts, encoder, grain)
        own = np.arange(nearest.shape[1]) == np.array(owners)[:, None]
        pairs[grain] = Pairs(nearest[own], nearest[~own])
    return pairs


def _crops(shots: Sequence[Shot]) -> Iterator[Image.Image]:
    """A crop of each size and mild edit of it, of one photograph after the other."""
    random = np.random.default_rng(0)
    for share in SHARES:
        for change in MILD.values():
            for shot in shots:
                yield change(_random_crop(shot.open(), share, random))


def _nearest_parts(queries: Words, parts: Words, encoder: Encoder, grain: str) -> NDArray[np.int64]:
    """(queries, pictures): the distance of the nearest part of each picture."""
    nearest = np.empty((len(queries), len(parts)), np.int64)
    for row, query in enumerate(queries):
        differing = Codes((parts ^ query).reshape(-1, parts.shape[-1]), encoder.grains).at(grain)
        nearest[row] = np.bitwise_count(differing.words).sum(axis=1).reshape(parts.shape[:2]).min(axis=1)
    return nearest
