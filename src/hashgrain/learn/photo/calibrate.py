"""Calibrates distances to words and probabilities, on pairs of pictures that the head was not fitted on."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from hashgrain.codes import Codes
from hashgrain.models import Calibration
from hashgrain.models.probabilities import Distances, Pairs, falling

# The largest error rate of each word on pairs that do not belong together. The documented bound for `same` is 1 in
# 100,000, for any pictures: the margin covers differences between samples.
FALSE_ALARMS = {"same": 8e-6, "near": 1e-3, "related": 2e-2}
WORDS_OF = {"look": ("same", "near", "related"), "thing": ("same", "near", "related"), "kind": ("near", "related")}
PAIRS = 4_000_000


def distances_between(left: Codes, right: Codes) -> Distances:
    differing: Distances = np.bitwise_count(left.words ^ right.words).sum(axis=1).astype(np.int64)
    return differing


def random_pairs(count: int, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pairs of different rows."""
    left, right = np.random.default_rng(seed).integers(0, count, (2, PAIRS))
    return left[left != right], right[left != right]


def every_pair(codes: Codes) -> Distances:
    """The distances of all pairs within a set."""
    words = codes.words
    rows = (np.bitwise_count(words[i + 1 :] ^ words[i]).sum(axis=1) for i in range(len(words) - 1))
    return np.concatenate([row.astype(np.int64) for row in rows])


def calibration(grain: str, bits: int, strangers: Distances, pairs: Pairs) -> Calibration:
    """`strangers` are distances of different pictures. `pairs` separate what the grain distinguishes: pictures of one
    kind or thing (for `look`, mild edits and their originals) and others."""
    words: dict[str, int] = {}
    for word in WORDS_OF[grain]:
        wrong = strangers if word == "same" else pairs.apart
        most = largest_within(wrong, bits, FALSE_ALARMS[word])
        words[word] = max(most, *words.values()) if words else most
    return Calibration(words, probabilities(pairs, bits))


def largest_within(wrong: Distances, bits: int, share: float) -> int:
    """The largest distance that at most this share of the wrong pairs reach."""
    reached = np.cumsum(np.bincount(wrong, minlength=bits + 1)) / max(1, len(wrong))
    return max(0, int(np.searchsorted(reached, share, side="right")) - 1)


def probabilities(pairs: Pairs, bits: int) -> tuple[float, ...]:
    """For each distance, the probability that a pair belongs together if half of all pairs do; never increasing."""
    together, apart = (
        np.bincount(each, minlength=bits + 1) / max(1, len(each)) for each in (pairs.together, pairs.apart)
    )
    smoothing = 1 / max(1, len(pairs.apart))
    weight = together + apart + 2 * smoothing
    return tuple(round(float(each), 5) for each in falling((together + smoothing) / weight, weight))


def by_labels(codes: Mapping[str, Codes], labels: Mapping[str, NDArray[np.str_]], grain: str, seed: int) -> Pairs:
    """Pairs within each set of pictures: with the same label and with different labels."""
    together, apart = [], []
    for number, (name, of_set) in enumerate(codes.items()):
        left, right = random_pairs(len(of_set), seed + number)
        at = of_set.at(grain)
        distances = distances_between(at[left], at[right])
        same = labels[name][left] == labels[name][right]
        together.append(distances[same])
        apart.append(distances[~same])
    return Pairs(np.concatenate(together), np.concatenate(apart))
