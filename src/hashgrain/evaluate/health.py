"""Are the bits in use? Dead bits and crowded buckets are how hashing fails without saying so."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hashgrain.codes import Codes, unpack

ROWS = 1 << 16  # codes unpacked at a time


@dataclass(frozen=True)
class Health:
    """Of the codes at one grain. Entropy is 1 where a bit is on half of the time, 0 where it never changes."""

    bits: int
    dead_bits: int
    mean_entropy: float
    least_entropy: float
    distinct: int
    largest_bucket: int  # how many pictures share the commonest code


def code_health(codes: Codes) -> dict[str, Health]:
    """The health of each grain, coarse to fine."""
    ones = np.zeros(codes.grains.bits, np.int64)
    for start in range(0, len(codes), ROWS):
        ones += unpack(codes.words[start : start + ROWS], codes.grains.bits).sum(axis=0, dtype=np.int64)
    share = ones / max(1, len(codes))
    with np.errstate(divide="ignore", invalid="ignore"):
        entropy = np.nan_to_num(-share * np.log2(share) - (1 - share) * np.log2(1 - share))
    return {grain: _health(codes.at(grain), entropy[:bits], ones[:bits]) for grain, bits in codes.grains.items()}


def _health(codes: Codes, entropy: np.ndarray, ones: np.ndarray) -> Health:
    as_records = np.ascontiguousarray(codes.words).view(np.dtype((np.void, codes.words.shape[1] * 8))).ravel()
    counts = np.unique(as_records, return_counts=True)[1] if len(codes) else np.zeros(1, np.int64)
    return Health(
        bits=codes.grains.bits,
        dead_bits=int(((ones == 0) | (ones == len(codes))).sum()),
        mean_entropy=float(entropy.mean()),
        least_entropy=float(entropy.min()),
        distinct=len(counts) if len(codes) else 0,
        largest_bucket=int(counts.max()),
    )
