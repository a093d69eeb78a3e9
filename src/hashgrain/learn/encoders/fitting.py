"""A head on a network's features: its training data, the fit, and the calibration of its distances."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hashgrain.codes import Codes, Grains
from hashgrain.errors import Remedy, TrainingError
from hashgrain.evaluate.near_copies import MILD
from hashgrain.hashers import ITQ, Features, PCAHash, Projection, most_directions
from hashgrain.learn.data.kept_features import KeptFeatures
from hashgrain.learn.distill import Material, Settings, distill
from hashgrain.learn.encoders.pictures import Shot, Shots
from hashgrain.learn.photo.calibrate import FALSE_ALARMS, calibration, distances_between, every_pair
from hashgrain.learn.photo.head import unit
from hashgrain.learn.photo.pictures import view
from hashgrain.models import Calibration
from hashgrain.models.probabilities import Pairs

HELD_OUT = 600  # pictures not used in the fit, on which words are calibrated
VIEWED = 1_500  # pictures with two edited views
EDITED = 100  # of the held-out pictures, each in every mild edit
STEPS, RATE = 600, 3e-3
TEACHER = (0.05, 0.05, 0.02)  # temperatures: sharper for the finer grains, whose nearest neighbors count most
CODE = (0.2, 0.12, 0.05)
VIEW_WEIGHT, VIEW_TEMPERATURE = 1.0, 0.05
SPREAD = 0.5  # standard deviation of the first outputs
FLAT = 1e-3  # relative to the largest spread: a direction with less is noise
LEAST_PAIRS = round(1 / FALSE_ALARMS["same"])  # of different pictures: with fewer, `same` would be a guess


@dataclass(frozen=True)
class Sets:
    """Features of the user's pictures that could be opened."""

    fitted: Features
    plain: Features  # of the pictures with views
    left: Features  # of their first views
    right: Features  # of their second views
    validation: Features
    edited: list[Features]  # of the first held-out pictures, one array per mild edit
    contents: list[str]  # the SHA-256 of every picture in the fit
    refused: list[str]  # names of files that could not be opened


@dataclass(frozen=True)
class Head:
    """outputs = unit(features - mean) @ weight + bias"""

    mean: Features
    weight: NDArray[np.float64]  # (width, bits)
    bias: NDArray[np.float64]

    @property
    def projection(self) -> Projection:
        return Projection(self.mean, self.weight, self.bias)

    def outputs(self, features: Features) -> NDArray[np.float64]:
        values: NDArray[np.float64] = unit(features - self.mean) @ self.weight + self.bias
        return values


def least_pictures(bits: int) -> int:
    """The least number of pictures: with fewer, the fit would have no more pictures than bits."""
    return bits + bits // 2


def more_pictures(bits: int) -> Remedy:
    least = least_pictures(bits)
    return Remedy(f"give at least {least}, or fewer bits", "more_pictures", least=least)


def features_of(shots: Shots, cache: KeptFeatures, bits: int) -> Sets:
    """Compute or read the features of every picture, and of edited views of some."""
    rows = cache.of(f"pictures {shots.digest()[:16]}", lambda: (shot.read() for shot in shots.pictures))
    opened = np.asarray(np.isfinite(rows).all(axis=1))
    refused = [*shots.unreadable, *(s.name for s, ok in zip(shots.pictures, opened, strict=True) if not ok)]
    good = [shot for shot, ok in zip(shots.pictures, opened, strict=True) if ok]
    if len(good) < least_pictures(bits):
        unopened = f" ({len(refused)} cannot be opened, such as {refused[0]})" if refused else ""
        raise TrainingError(
            f"{len(good):,} different pictures are too few for {bits} bits{unopened}", remedy=more_pictures(bits)
        )
    features = rows[opened]
    check_spread(features)
    count = min(HELD_OUT, len(good) // 3)
    key = Shots(good, []).digest()[:16]
    viewed, edited, edge = good[count : count + VIEWED], good[:count][:EDITED], 2 * max(cache.size)
    left, right = (cache.of(f"views {n} {key}", lambda n=n: _views(viewed, edge, n)) for n in (1, 2))  # type: ignore[misc]
    edits = [
        cache.of(f"edit {number} {key}", lambda change=change: (change(shot.image(edge)) for shot in edited))  # type: ignore[misc]
        for number, change in enumerate(MILD.values())
        if edited and enough_pairs(count)
    ]
    return Sets(
        fitted=features[count:],
        plain=features[count : count + VIEWED],
        left=left,
        right=right,
        validation=features[:count],
        edited=edits,
        contents=[shot.sha256 for shot in good[count:]],
        refused=refused,
    )


def check_spread(features: Features) -> None:
    """Refuse features that are the same for every picture."""
    spread = np.linalg.norm(features - features.mean(axis=0), axis=1)
    if not spread.max() > 1e-6 * max(1e-30, float(np.linalg.norm(features, axis=1).max())):
        raise TrainingError(
            "the network gives the same features for every picture, so nothing can tell them apart; check that its"
            " weights are those of a trained network, and that its preprocessing is right"
        )


def _views(shots: Sequence[Shot], edge: int, seed: int) -> Iterator[Image.Image]:
    for number, shot in enumerate(shots):
        yield view(shot.image(edge), np.random.default_rng([seed, number]))


def fit(sets: Sets, grains: Grains, seed: int, settings: Settings | None = None) -> Head:
    """Fit the head with one seed. Its inputs and its teacher are the same: the centered features at length 1."""
    mean = sets.fitted.mean(axis=0)
    rows = unit(sets.fitted - mean)
    left = np.concatenate([sets.plain, sets.left])
    right = np.concatenate([sets.left, sets.right])
    material = Material(rows, [rows] * len(grains), unit(left - mean), unit(right - mean))
    widths = list(grains.values())
    layer = distill(material, widths, seed, settings or settings_for(grains), first_weights(rows, widths, seed))
    weight = layer.weight.detach().numpy().T.astype(np.float64)
    return Head(mean, weight, layer.bias.detach().numpy().astype(np.float64))


def first_weights(rows: Features, widths: Sequence[int], seed: int) -> Features:
    """The initial weights (bits, inputs), by nested ITQ: the principal components, largest first, are divided among
    the grains, and those of each grain are rotated towards their signs. Bits after the last component above the noise
    are random."""
    components = PCAHash(min(widths[-1], most_directions(rows))).fit(rows).projection.directions
    spreads = (rows @ components).std(axis=0)
    count = int((spreads > FLAT * spreads[0]).sum())
    first = np.random.default_rng(seed).normal(0, SPREAD, (widths[-1], rows.shape[1]))
    start = 0
    for end in (min(width, count) for width in widths):
        if end > start:
            block = components[:, start:end]
            weights = block @ ITQ(end - start, seed=seed).fit(rows @ block).projection.directions
            first[start:end] = (weights * SPREAD / (rows @ weights).std(axis=0)).T
        start = end
    return first.astype(np.float32)


def settings_for(grains: Grains) -> Settings:
    """The settings for these grains: the last of the temperatures, which were chosen on validation pictures."""
    teacher, code = (temperatures[len(temperatures) - len(grains) :] for temperatures in (TEACHER, CODE))
    return Settings(
        steps=STEPS,
        rate=RATE,
        teacher_temperatures=teacher,
        code_temperatures=code,
        view_weight=VIEW_WEIGHT,
        view_temperature=VIEW_TEMPERATURE,
    )


def enough_pairs(pictures: int) -> bool:
    return pictures * (pictures - 1) // 2 >= LEAST_PAIRS


def calibrated(head: Head, sets: Sets, grains: Grains) -> dict[str, Calibration]:
    """Calibrate the finest grain with mild edits of held-out pictures and with pairs of different ones; {} where those
    are too few. Coarser grains would need labels, and there are none."""
    if not enough_pairs(len(sets.validation)) or not sets.edited:
        return {}
    whole, edits = (_codes(head, each, grains) for each in (sets.validation, np.concatenate(sets.edited)))
    originals = whole[np.tile(np.arange(len(sets.edited[0])), len(sets.edited))]
    apart = every_pair(whole)
    pairs = Pairs(distances_between(originals, edits), apart)
    return {grains.finest: calibration("look", grains.bits, apart, pairs)}


def _codes(head: Head, features: Features, grains: Grains) -> Codes:
    return Codes.from_outputs(head.outputs(features), grains)
