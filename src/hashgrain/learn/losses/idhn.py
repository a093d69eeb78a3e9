"""Improved deep hashing: graded similarity of pictures with several labels."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from hashgrain.learn.losses.loss import Loss
from hashgrain.learn.losses.quantization import absolute_quantization
from hashgrain.learn.losses.relaxed import disagreement, mean_over, pairs


class IdhnLoss(Loss):
    """Likelihood if all labels or none are shared, a target distance if some are (IDHN: Zhang et al., 2020).

    s = cosine of the two label vectors, h = u / (1 + |u|).
    s is 0 or 1: log(1 + exp(t)) - s * t, t = odds / bits * <h_i, h_j>.
    between: partial * bits * ((<h_i, h_j> + bits) / (2 * bits) - s)^2, 0 at a Hamming distance of (1 - s) * bits.
    + quantization * mean of ||h| - 1|.
    These are the weights of the authors' code. The toolbox has 0.5 for odds / bits, scales the product but not its
    target by that (so pairs with |2 * s - 1| > 1/2 cannot reach it), and weights such pairs 4 * bits times as much.
    """

    def __init__(
        self, bits: int, classes: int, *, odds: float = 5.0, partial: float = 0.1, quantization: float = 0.1
    ) -> None:
        super().__init__(bits, classes)
        self.odds, self.partial, self.quantization = odds, partial, quantization

    def forward(self, outputs: Tensor, truth: Tensor) -> Tensor:
        codes = F.softsign(outputs)
        products, common, number = codes @ codes.T, truth @ truth.T, truth.sum(dim=1)
        likeness = common / (number[:, None] * number[None, :]).sqrt().clamp(min=1)
        none, all_of_them = common == 0, (common == number[:, None]) & (common == number[None, :])
        whole = disagreement(self.odds / self.bits * products, all_of_them & ~none)
        part = self.partial * self.bits * ((products + self.bits) / (2 * self.bits) - likeness).square()
        pairwise = mean_over(torch.where(none | all_of_them, whole, part), pairs(outputs))
        return pairwise + self.quantization * absolute_quantization(codes)
