"""The sets of pictures on which `photo` is fitted, and their features. None is in a reporting set."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hashgrain.hashers import Features
from hashgrain.learn.photo.features import FeatureCache, Traits
from hashgrain.learn.photo.pictures import Shot, photographs, random_crop, stamps, tiny_imagenet, view

SMALL = 10_000  # pictures of Tiny ImageNet, of those not kept out
VIEWS = 16  # edited views of each sharp picture
PIECES, PIECE = 10, 0.15  # random crops of each sharp picture: their number and least share of its area
PIECE_VIEWS = (31, 32, 33)  # seeds of the edited views of each piece


@dataclass(frozen=True)
class FittingSets:
    """The training data of the head, without labels."""

    pictures: Traits
    whole: Traits  # the sharp ones of these, uncropped; the mean is that of these and the small ones
    small: Traits
    originals: Traits  # sharp pictures and pieces of them, and
    edited: Traits  # an edited view of each
    source: NDArray[np.int64]  # the row of `whole` that each of the originals comes from
    contents: list[str]  # the SHA-256 of every picture of the sets

    @property
    def roots(self) -> Features:
        """The pictures whose mean is taken."""
        return np.concatenate([self.small.features, self.whole.features])


def fitting_sets(cache: FeatureCache, data: Path) -> FittingSets:
    sharp = sharp_pictures(data)
    rest = tiny_imagenet(data, "rest")
    order = np.random.default_rng(1).permutation(len(rest))
    chosen = [rest[i] for i in order[:SMALL]]
    small = cache.traits("small", lambda: (shot.content for shot in chosen))
    whole = cache.traits("sharp", lambda: (shot.content for shot in sharp))
    views = cache.traits("sharp views", lambda: _views(sharp))
    pieces = cache.traits("pieces", lambda: _pieces(sharp))
    cut = [cache.traits(f"piece views {seed}", lambda seed=seed: _piece_views(sharp, seed)) for seed in PIECE_VIEWS]  # type: ignore[misc]
    half = len(sharp) * VIEWS // 2
    times = VIEWS + PIECES * len(PIECE_VIEWS)
    return FittingSets(
        pictures=Traits.joined(small, whole, views[:half], pieces),
        whole=whole,
        small=small,
        originals=Traits.joined(whole.repeated(VIEWS), pieces.repeated(len(PIECE_VIEWS))),
        edited=Traits.joined(views, *cut),
        source=np.tile(np.arange(len(sharp)), times),
        contents=sorted({shot.sha256 for shot in [*sharp, *chosen]}),
    )


def sharp_pictures(data: Path) -> list[Shot]:
    """The stamps and photographs that are not reported on."""
    return [shot for shot in [*stamps(data), *photographs(data)] if not shot.reported]


def _views(shots: list[Shot]) -> Iterator[Image.Image]:
    for time in range(VIEWS):
        for number, shot in enumerate(shots):
            yield view(shot.open(), np.random.default_rng([7, time, number]))


def _piece(shot: Shot, number: int, time: int) -> Image.Image:
    return random_crop(shot.open(), np.random.default_rng([30, time, number]), PIECE)


def _pieces(shots: list[Shot]) -> Iterator[Image.Image]:
    for time in range(PIECES):
        for number, shot in enumerate(shots):
            yield _piece(shot, number, time)


def _piece_views(shots: list[Shot], seed: int) -> Iterator[Image.Image]:
    for time in range(PIECES):
        for number, shot in enumerate(shots):
            yield view(_piece(shot, number, time), np.random.default_rng([seed, time, number]))
