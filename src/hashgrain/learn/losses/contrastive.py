"""Contrastive loss with a margin in bits."""

from __future__ import annotations

import torch
from torch import Tensor

from hashgrain.learn.losses import metric_learning
from hashgrain.learn.losses.loss import Loss
from hashgrain.learn.losses.relaxed import same


class ContrastiveLoss(Loss):
    """Similar pictures close, others at least `margin` bits apart (after Hadsell, Chopra and LeCun, 2006).

    d for similar pairs, max(0, margin - d) for others, d = |h_i - h_j|^2 / 4, h = tanh(u): in bits if h is -1 and +1.
    The sum of the two means over pairs with a loss above 0; pytorch-metric-learning computes it.
    The paper's d inside the margin is not squared; a distance in bits is. The margin is half of the bits, as in DSH.
    """

    def __init__(self, bits: int, classes: int, *, margin: float | None = None) -> None:
        super().__init__(bits, classes)
        self.contrast = metric_learning.contrastive(bits / 2 if margin is None else margin)

    def forward(self, outputs: Tensor, truth: Tensor) -> Tensor:
        halves = torch.tanh(outputs) / 2  # their squared distance is the Hamming distance
        return metric_learning.evaluate_loss(self.contrast, halves, metric_learning.pair_rows(same(truth)))
