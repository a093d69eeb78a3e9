"""Supervised contrast: pictures with a common label are positives."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from hashgrain.learn.losses.loss import Loss
from hashgrain.learn.losses.relaxed import mean_over, pairs, same


class SupervisedContrastLoss(Loss):
    """Every other picture that shares a label is a positive (Khosla et al., 2020).

    - mean over i, mean over p similar to i, of log exp(cos(i, p) / t) / sum_j exp(cos(i, j) / t), j not i; cosines
    of tanh(sharpness * outputs), which are nearly the bits if outputs have unit variance.
    It rewards the objective of retrieval: same labels among the nearest codes of the batch. The mean is over pictures
    with a positive. Others, also unlabelled ones, only count in the sum over j.
    """

    def __init__(self, bits: int, classes: int, *, temperature: float = 0.1, sharpness: float = 2.0) -> None:
        super().__init__(bits, classes)
        self.temperature, self.sharpness = temperature, sharpness

    def forward(self, outputs: Tensor, truth: Tensor) -> Tensor:
        others = pairs(outputs)
        positive = same(truth) & others
        likely = likelihood(torch.tanh(self.sharpness * outputs), others, self.temperature)
        mean = (likely * positive).sum(dim=1) / positive.sum(dim=1).clamp(min=1)
        return -mean_over(mean, positive.any(dim=1))


def likelihood(outputs: Tensor, others: Tensor, temperature: float) -> Tensor:
    """(n, n) log of the probability that i picks j among the others, by cosine; 0 on the diagonal."""
    directions = F.normalize(outputs, dim=1)
    similarity = (directions @ directions.T / temperature).masked_fill(~others, -torch.inf)
    return F.log_softmax(similarity, dim=1).masked_fill(~others, 0)
