"""The sets of pictures that `photo` is fitted on, as features. None of them is ever reported on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from hashgrain.learn.photo.features import FeatureCache, Features
from hashgrain.learn.photo.pictures import Shot, collage, photographs, stamps, tiny_imagenet, view

SMALL = 10_000  # pictures of Tiny ImageNet, of those not kept out
SMALL_VIEWED = 2_400  # others of them, seen in two ways
ENLARGED = 128  # a small picture is enlarged before it is edited
SHARP_VIEWS = 16  # of each sharp picture
COLLAGES = 1_500


@dataclass(frozen=True)
class FittingSets:
    """What the head is fitted on, without labels."""

    pictures: Features
    left: Features  # views of other pictures, and
    right: Features  # other views of the same ones
    roots: Features  # the pictures whose mean is taken
    contents: list[str]  # the SHA-256 of every picture that entered


def fitting_sets(cache: FeatureCache, data: Path) -> FittingSets:
    sharp = sharp_pictures(data)
    rest = tiny_imagenet(data, "rest")
    order = np.random.default_rng(1).permutation(len(rest))
    small = [rest[i] for i in order[:SMALL]]
    viewed = [rest[i] for i in order[SMALL : SMALL + SMALL_VIEWED]]
    whole = cache.of("sharp", lambda: (shot.content for shot in sharp))
    views = cache.of("sharp views", lambda: _views(sharp, SHARP_VIEWS, 7))
    of_small = cache.of("small", lambda: (shot.content for shot in small))
    plain = cache.of("small viewed", lambda: (_enlarged(shot) for shot in viewed))
    first = cache.of("small views 1", lambda: _small_views(viewed, 8))
    second = cache.of("small views 2", lambda: _small_views(viewed, 9))
    collages = cache.of("collages", lambda: _collages(sharp + viewed))
    half = len(sharp) * SHARP_VIEWS // 2
    repeated = np.tile(whole, (SHARP_VIEWS // 2, 1))
    return FittingSets(
        pictures=np.concatenate([of_small, whole, views[:half], collages]),
        left=np.concatenate([plain, first, repeated, views[:half]]),
        right=np.concatenate([first, second, views[half:], views[half:]]),
        roots=np.concatenate([of_small, whole]),
        contents=sorted({shot.sha256 for shot in [*sharp, *small, *viewed]}),
    )


def sharp_pictures(data: Path) -> list[Shot]:
    """The stamps and photographs that are not reported on."""
    return [shot for shot in [*stamps(data), *photographs(data)] if not shot.reported]


def _views(shots: list[Shot], times: int, seed: int) -> Iterator[Image.Image]:
    for time in range(times):
        for number, shot in enumerate(shots):
            yield view(shot.open(), np.random.default_rng([seed, time, number]))


def _small_views(shots: list[Shot], seed: int) -> Iterator[Image.Image]:
    for number, shot in enumerate(shots):
        yield view(_enlarged(shot), np.random.default_rng([seed, 0, number]))


def _enlarged(shot: Shot) -> Image.Image:
    return shot.open().resize((ENLARGED, ENLARGED), Image.Resampling.BICUBIC)


def _collages(shots: list[Shot]) -> Iterator[Image.Image]:
    for number in range(COLLAGES):
        random = np.random.default_rng([3, number])
        chosen = random.choice(len(shots), 4, replace=False)
        yield collage([shots[i].open() for i in chosen], random)
