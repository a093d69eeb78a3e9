"""Contrast with the nearest neighbors in feature space as positives."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from hashgrain.learn.losses.loss import Loss
from hashgrain.learn.losses.relaxed import pairs
from hashgrain.learn.losses.supervised_contrast import likelihood


class NeighborContrastLoss(Loss):
    """Supervised contrast (Khosla et al., 2020) with neighbors instead of labels (SCAN, Van Gansbeke, 2020).

    - mean over i, mean over the k nearest p of i, of log exp(cos(i, p) / t) / sum_j exp(cos(i, j) / t), j not i;
    cosines of tanh(sharpness * outputs); k = share * batch, at least 1. Neighbors are nearest by the cosine of the
    features, less their mean over the batch: features after a ReLU all have similar directions.
    """

    unsupervised = True

    def __init__(
        self, bits: int, classes: int, *, share: float = 0.008, temperature: float = 1.0, sharpness: float = 2.0
    ) -> None:
        super().__init__(bits, classes)
        self.share, self.temperature, self.sharpness = share, temperature, sharpness

    def forward(self, outputs: Tensor, truth: Tensor) -> Tensor:
        others = pairs(outputs)
        k = min(max(1, round(self.share * len(outputs))), len(outputs) - 1)
        if k < 1:
            return (outputs * 0).sum()  # a single picture has no neighbor
        directions = F.normalize(truth.detach() - truth.detach().mean(dim=0), dim=1)
        nearest = (directions @ directions.T).masked_fill(~others, -torch.inf).topk(k, dim=1).indices
        return -likelihood(torch.tanh(self.sharpness * outputs), others, self.temperature).gather(1, nearest).mean()
