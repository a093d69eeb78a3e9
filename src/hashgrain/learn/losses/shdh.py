"""Code segments for the levels of a hierarchy; coarse levels weigh more."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

from hashgrain.learn.losses.loss import Loss
from hashgrain.learn.losses.relaxed import mean_over, pairs, same


class ShdhLoss(Loss):
    """Weighted segments follow the hierarchical similarity (after SHDH: Wang et al., AAAI 2018).

    mean over pairs of (sum_k weight_k <h_i, h_j>_k / width_k - s_ij)^2 + balance * mean over bits of (mean of h)^2,
    s_ij = 2 sum_k weight_k [similar at level k] - 1, weight_k = 2 (K + 1 - k) / (K (K + 1)), k = 1 next to the root.
    Segment k is the bits that grain k adds; `bits` and `classes` are of each grain, coarse to fine, and the truth has
    the classes of all grains side by side. Ranked by the same weights of Hamming distance, pictures of the same class
    come first, then those of the same superclass. The paper has segments of equal width, for which this is its formula;
    h = tanh(u) replaces its relaxation.
    """

    hierarchical = True

    def __init__(self, bits: int | Sequence[int], classes: int | Sequence[int], *, balance: float = 0.1) -> None:
        self.widths = (bits,) if isinstance(bits, int) else tuple(bits)
        self.sizes = (classes,) if isinstance(classes, int) else tuple(classes)
        super().__init__(self.widths[-1], sum(self.sizes))
        self.balance, self.weights = balance, level_weights(len(self.widths))
        starts = [0, *self.widths]
        self.segments = [slice(start, end) for start, end in pairwise(starts)]

    def forward(self, outputs: Tensor, truth: Tensor) -> Tensor:
        codes = torch.tanh(outputs)
        truths = torch.split(truth, list(self.sizes), dim=1)
        found, wanted = codes.new_zeros(len(codes), len(codes)), codes.new_full((len(codes), len(codes)), -1.0)
        for weight, segment, level in zip(self.weights, self.segments, truths, strict=True):
            own = codes[:, segment]
            found = found + weight / own.shape[1] * own @ own.T
            wanted = wanted + 2 * weight * same(level)
        return mean_over((found - wanted).square(), pairs(outputs)) + self.balance * codes.mean(dim=0).square().mean()


def level_weights(levels: int) -> list[float]:
    """Weights that decrease linearly from the root and add up to 1."""
    return [2 * (levels + 1 - level) / (levels * (levels + 1)) for level in range(1, levels + 1)]
