"""Triplet loss with a margin in bits."""

from __future__ import annotations

import torch
from torch import Tensor

from hashgrain.learn.losses import metric_learning
from hashgrain.learn.losses.loss import Loss
from hashgrain.learn.losses.relaxed import same, triplets


class TripletLoss(Loss):
    """A positive at least `margin` bits closer to the anchor than a negative (Schroff et al., 2015).

    max(0, margin + d(anchor, positive) - d(anchor, negative)), d = |h_i - h_j|^2 / 4, h = tanh(u): in bits if h
    is -1 and +1. The mean is over triplets with a loss above 0; pytorch-metric-learning computes it.
    The paper's margin is 0.2, and unit vectors are at most 4 apart: bits / 20.
    """

    def __init__(self, bits: int, classes: int, *, margin: float | None = None) -> None:
        super().__init__(bits, classes)
        self.contrast = metric_learning.triplet(bits / 20 if margin is None else margin)

    def forward(self, outputs: Tensor, truth: Tensor) -> Tensor:
        halves = torch.tanh(outputs) / 2  # their squared distance is the Hamming distance
        return metric_learning.evaluate_loss(self.contrast, halves, triplets(same(truth)))
