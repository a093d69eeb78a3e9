"""The bits of two views identify the picture and carry little else."""

from __future__ import annotations

import torch
from torch import Tensor

from hashgrain.learn.losses.instance import InstanceContrast, two_views
from hashgrain.learn.losses.loss import Loss
from hashgrain.learn.losses.relaxed import straight_through


def divergence(outputs: Tensor, others: Tensor) -> Tensor:
    """(KL(p | q) + KL(q | p)) / 2 of Bernoulli bits p = sigmoid(output), q = sigmoid(other), summed over bits.

    The logarithms cancel: it is (p - q) (output - other) / 2. Mean over pictures.
    """
    gap = (torch.sigmoid(outputs) - torch.sigmoid(others)) * (outputs - others) / 2
    return gap.sum() / max(1, len(outputs))


class CibHashLoss(Loss):
    """NT-Xent of the bits of two views + bottleneck * their divergence (CIBHash, Qiu et al., 2021).

    The bits are the more likely values, not samples, and have the gradient of p = sigmoid(u). Features are not used.
    """

    unsupervised = True
    views = 2

    def __init__(self, bits: int, classes: int, *, temperature: float = 0.3, bottleneck: float = 0.001) -> None:
        super().__init__(bits, classes)
        self.contrast, self.bottleneck = InstanceContrast(temperature), bottleneck

    def forward(self, outputs: Tensor, truth: Tensor) -> Tensor:
        # tanh(u / 2) / 2 is p - 1/2, and keeps the sign of a small u.
        bits = straight_through(torch.tanh(outputs / 2) / 2)
        contrast: Tensor = self.contrast(bits)
        return contrast + self.bottleneck * divergence(*two_views(outputs))
