"""HashNet: a tanh that approaches the sign during training."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from hashgrain.learn.losses.loss import Loss
from hashgrain.learn.losses.relaxed import balanced_weights, disagreement, mean_over, pairs, same


class HashNetLoss(Loss):
    """Balanced likelihood of the pairs on tanh(sharpness * u), by continuation (HashNet: Cao et al., 2017).

    mean of weight * (log(1 + exp(t)) - similar * t), t = odds / bits * <h_i, h_j>, h = tanh(sharpness * u); the
    weight of a similar pair is all pairs / similar pairs, of another pair all pairs / other pairs.
    The paper raises the sharpness to sqrt(1 + 0.005 * iteration) every 200 iterations. By the finished share of
    training, that is sqrt(1 + (final_sharpness^2 - 1) * share), in `stages` stages; the defaults are 10,000
    iterations. Toolboxes stop earlier: sqrt(1 + epoch / 100), or never raise it.
    """

    def __init__(
        self,
        bits: int,
        classes: int,
        *,
        odds: float = 10.0,
        final_sharpness: float = math.sqrt(51),
        stages: int = 50,
    ) -> None:
        super().__init__(bits, classes)
        self.odds, self.final_sharpness, self.stages = odds, final_sharpness, stages
        self.sharpness = 1.0

    def advance(self, share: float) -> None:
        reached = math.floor(share * self.stages) / self.stages
        self.sharpness = math.sqrt(1 + (self.final_sharpness**2 - 1) * reached)

    def forward(self, outputs: Tensor, truth: Tensor) -> Tensor:
        similar, counted = same(truth), pairs(outputs)
        codes = torch.tanh(self.sharpness * outputs)
        likelihood = disagreement(self.odds / self.bits * codes @ codes.T, similar)
        return mean_over(likelihood * balanced_weights(similar, counted), counted)
