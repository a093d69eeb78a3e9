"""The health of bits: dead bits, redundant bits and crowded buckets are the ways in which hashing fails silently."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hashgrain.codes import Codes, unpack
from hashgrain.evaluate.hypergeometric import Floats

ROWS = 1 << 16  # codes unpacked at a time


@dataclass(frozen=True, eq=False)
class Health:
    """The health of codes at one grain. Entropy is 1 for a bit that is on half of the time, 0 for a constant one."""

    bits: int
    ones: Floats  # per bit, the share of codes in which it is on
    entropy: Floats  # per bit
    correlation: Floats  # (bits, bits), 0 for a dead bit with any other
    distinct: int
    largest_bucket: int  # the number of pictures with the most common code
    colliding: float  # the share of pictures whose code occurs more than once

    @property
    def dead_bits(self) -> int:
        return int(((self.ones == 0) | (self.ones == 1)).sum())

    @property
    def mean_entropy(self) -> float:
        return float(self.entropy.mean())

    @property
    def least_entropy(self) -> float:
        return float(self.entropy.min())

    @property
    def correlations(self) -> Floats:
        """The absolute correlation of every pair of bits."""
        return np.abs(self.correlation[np.triu_indices(self.bits, 1)])


def code_health(codes: Codes) -> dict[str, Health]:
    """The health of each grain, coarse to fine."""
    bits, n = codes.grains.bits, len(codes)
    ones, together = np.zeros(bits), np.zeros((bits, bits))
    for start in range(0, n, ROWS):
        some = unpack(codes.words[start : start + ROWS], bits).astype(np.float32)
        ones += some.sum(axis=0, dtype=np.float64)
        together += some.T @ some  # whole numbers below 2^24: exact
    share = ones / max(1, n)
    with np.errstate(divide="ignore", invalid="ignore"):
        entropy = np.nan_to_num(-share * np.log2(share) - (1 - share) * np.log2(1 - share))
        spread = np.sqrt(share * (1 - share))
        correlation = np.nan_to_num((together / max(1, n) - np.outer(share, share)) / np.outer(spread, spread))
    np.fill_diagonal(correlation, 1.0)
    return {
        grain: _health(codes.at(grain), share[:width], entropy[:width], correlation[:width, :width])
        for grain, width in codes.grains.items()
    }


def _health(codes: Codes, ones: Floats, entropy: Floats, correlation: Floats) -> Health:
    as_records = np.ascontiguousarray(codes.words).view(np.dtype((np.void, codes.words.shape[1] * 8))).ravel()
    counts = np.unique(as_records, return_counts=True)[1] if len(codes) else np.empty(0, np.int64)
    return Health(
        bits=codes.grains.bits,
        ones=ones,
        entropy=entropy,
        correlation=np.clip(correlation, -1, 1),
        distinct=len(counts),
        largest_bucket=int(counts.max(initial=0)),
        colliding=float(counts[counts > 1].sum() / max(1, len(codes))),
    )
