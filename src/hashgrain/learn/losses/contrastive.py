"""Contrastive loss, its margin in bits."""

from __future__ import annotations

import torch
from torch import Tensor

from hashgrain.learn.losses import metric_learning
from hashgrain.learn.losses.loss import Loss
from hashgrain.learn.losses.relaxed import same


class ContrastiveLoss(Loss):
    """Alike pictures together, others at least `margin` bits apart (after Hadsell, Chopra and LeCun, 2006).

    d for alike pairs, max(0, margin - d) for others, d = |h_i - h_j|^2 / 4, h = tanh(u): bits, where h is -1 and +1.
    The mean of each sort, over the pairs that cost anything, summed; as in pytorch-metric-learning, which computes it.
    The paper's d is not squared inside the margin; a distance in bits is. The margin is half of the bits, as in DSH.
    """

    def __init__(self, bits: int, classes: int, *, margin: float | None = None) -> None:
        super().__init__(bits, classes)
        self.contrast = metric_learning.contrastive(bits / 2 if margin is None else margin)

    def forward(self, outputs: Tensor, truth: Tensor) -> Tensor:
        halves = torch.tanh(outputs) / 2  # of which the squared distance is the Hamming distance
        return metric_learning.judge(self.contrast, halves, metric_learning.pair_rows(same(truth)))
