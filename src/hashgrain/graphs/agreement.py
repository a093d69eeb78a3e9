"""The share of bits on which two models agree: the first figure of a compressed model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hashgrain.errors import TrainingError
from hashgrain.models import Bundle, Encoder


@dataclass(frozen=True)
class Agreement:
    pictures: int
    bits: Mapping[str, float]  # grain -> the share of its bits that agree
    largest_turned: float  # the largest output of the first model whose bit differs in the second


def agreement(first: Bundle, second: Bundle, pixels: NDArray[np.uint8]) -> Agreement:
    """Compare the bits of the same pictures (n, height, width, 3). Unrelated models agree on about half of the bits."""
    if first.grains != second.grains or (first.size, first.fitted) != (second.size, second.fitted):
        raise TrainingError(
            f"{first.name} and {second.name} cannot be compared: grains {first.grains} and {second.grains}, input"
            f" {first.size}, {first.fitted}, and {second.size}, {second.fitted}. Compare models of the same grains and"
            " input size"
        )
    check_pixels(first, pixels)
    before, after = (Encoder(bundle).outputs(pixels) for bundle in (first, second))
    same = (before >= 0) == (after >= 0)
    return Agreement(
        pictures=len(pixels),
        bits={grain: round(float(same[:, :width].mean()), 6) for grain, width in first.grains.items()},
        largest_turned=float(np.abs(before[~same]).max(initial=0)),
    )


def check_pixels(bundle: Bundle, pixels: NDArray[np.uint8]) -> None:
    width, height = bundle.size
    if pixels.dtype != np.uint8 or pixels.shape[1:] != (height, width, 3) or not len(pixels):
        raise TrainingError(
            f"{bundle.name} takes uint8 pictures (n, {height}, {width}, 3), at least one; these are {pixels.dtype}"
            f" {pixels.shape}"
        )
