"""Fits and calibrates the parts of `photo`, on photographs of the choosing half."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hashgrain.codes import Codes, Words
from hashgrain.evaluate.near_copies import MILD
from hashgrain.learn.photo.calibrate import Pairs, calibration
from hashgrain.learn.photo.pictures import Shot, photographs
from hashgrain.media import open_picture
from hashgrain.models import Bundle, Calibration, Encoder
from hashgrain.models.detail import DEFAULT, DETAILS, Detail, detail_named
from hashgrain.models.part_correction import KEY, describe_correction
from hashgrain.models.parts import PartEncoder, pool

HALFWAY = 0.5  # of the way from no gain to the fitted one: nearer on photographs left out than either end
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
    """The gain and the shift of each feature, by size and level; see `models/part_correction`."""
    levels = sorted({level for detail in DETAILS for level in detail.levels})
    roots: dict[int, list[Floats]] = {level: [] for level in levels}
    pooled: dict[tuple[int, int], list[Floats]] = {(d.edge, level): [] for d in DETAILS for level in d.levels}
    for shot in shots:
        for level in levels:
            crops = np.stack([_opened(shot.content, encoder, box) for box in Detail("", 0, (level,)).windows])
            roots[level].append(np.sqrt(encoder.outputs_and_features(crops)[1]))
        for detail in DETAILS:
            size = (detail.edge, detail.edge)
            pixels = open_picture(shot.content, size=size).pixels
            (map_,) = encoder.maps([pixels], size)
            for level in detail.levels:
                means = pool(map_[None], Detail("", 0, (level,)).windows)[0]
                pooled[detail.edge, level].append(np.sqrt(means))
    return {
        detail.edge: {
            level: _line(np.concatenate(pooled[detail.edge, level]), np.concatenate(roots[level]))
            for level in detail.levels
        }
        for detail in DETAILS
    }


def _line(given: Floats, wanted: Floats) -> tuple[Floats, Floats]:
    """The gain and the shift of each column that bring one nearer to the other."""
    means, targets = given.mean(axis=0), wanted.mean(axis=0)
    spread = ((given - means) ** 2).sum(axis=0)
    slope = ((given - means) * (wanted - targets)).sum(axis=0) / np.maximum(spread, 1e-6)
    gain = 1 + HALFWAY * (slope - 1)
    return gain, targets - gain * means


def _opened(content: bytes, encoder: Encoder, box: tuple[float, float, float, float]) -> Pixels:
    return open_picture(content, size=encoder.bundle.size, box=box).pixels


def part_calibration(encoder: Encoder, shots: Sequence[Shot], others: Sequence[Shot]) -> Mapping[str, Calibration]:
    """What the distance of the nearest part says of whether a query shows a piece of a picture: at every grain, from
    crops of photographs, each changed a little. `others` are more pictures that no crop is of."""
    part_encoder = PartEncoder(encoder, detail_named(DEFAULT), trusted=True)
    parts = np.stack(list(part_encoder.words(_large([*shots, *others], part_encoder.size))))
    queries, owners = [], []
    for owner, image in enumerate(_crops(shots)):
        queries.append(encoder.codes(np.asarray(image.resize(encoder.bundle.size, _BILINEAR))[None]).words[0])
        owners.append(owner % len(shots))
    calibrations = {}
    for grain, bits in encoder.grains.items():
        nearest = _nearest_parts(np.stack(queries), parts, encoder, grain)
        own = np.arange(nearest.shape[1]) == np.array(owners)[:, None]
        pairs = Pairs(nearest[own], nearest[~own])
        calibrations[grain] = calibration(grain, bits, pairs.apart, pairs)
    return calibrations


_BILINEAR = Image.Resampling.BILINEAR


def _large(shots: Sequence[Shot], size: tuple[int, int]) -> Iterator[Pixels]:
    for shot in shots:
        yield open_picture(shot.content, size=size).pixels


def _crops(shots: Sequence[Shot]) -> Iterator[Image.Image]:
    """A crop of each size and mild edit of it, of one photograph after the other."""
    random = np.random.default_rng(0)
    for share in SHARES:
        for change in MILD.values():
            for shot in shots:
                image = shot.open()
                width, height = (max(8, round(edge * share**0.5)) for edge in image.size)
                left = int(random.integers(0, image.width - width + 1))
                top = int(random.integers(0, image.height - height + 1))
                yield change(image.crop((left, top, left + width, top + height)))


def _nearest_parts(queries: Words, parts: Words, encoder: Encoder, grain: str) -> NDArray[np.int64]:
    """(queries, pictures): the distance of the nearest part of each picture."""
    nearest = np.empty((len(queries), len(parts)), np.int64)
    for row, query in enumerate(queries):
        differing = Codes((parts ^ query).reshape(-1, parts.shape[-1]), encoder.grains).at(grain)
        nearest[row] = np.bitwise_count(differing.words).sum(axis=1).reshape(parts.shape[:2]).min(axis=1)
    return nearest
