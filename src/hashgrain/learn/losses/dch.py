"""Deep Cauchy hashing: like pictures within a small Hamming ball."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from hashgrain.learn.losses.loss import Loss
from hashgrain.learn.losses.relaxed import balanced_weights, mean_over, pairs, same

CLOSEST = 1e-3
"""In bits. Unlike pictures nearer than this cost no more: the logarithm has no end."""


class DchLoss(Loss):
    """Two pictures are alike with probability radius / (radius + d) (DCH: Cao et al., 2018).

    mean of weight * (log(1 + d / radius) for like pairs, log(1 + radius / d) for unlike ones), with HashNet's weights,
    + quantization * mean of log(1 + d(|u|, 1) / radius); d = bits / 2 * (1 - cosine), a Hamming distance for bits.
    The authors' code takes |u_i - u_j|^2 for d and no quantization, and leaves out a picture's pair with itself, as we
    do. The toolbox keeps it and cuts the cosine at 0.99, so that pairs closer than 0.5 % of the bits learn nothing.
    """

    def __init__(self, bits: int, classes: int, *, radius: float = 20.0, quantization: float = 0.1) -> None:
        super().__init__(bits, classes)
        self.radius, self.quantization = radius, quantization

    def forward(self, outputs: Tensor, truth: Tensor) -> Tensor:
        alike, counted = same(truth), pairs(outputs)
        directions = F.normalize(outputs, dim=1, eps=1e-4)  # a row of zeros would have a gradient of 1e12
        distance = (self.bits / 2 * (1 - directions @ directions.T)).clamp(min=0)
        near = torch.log1p(distance / self.radius)
        far = torch.log1p(self.radius / distance.clamp(min=CLOSEST))
        pairwise = mean_over(torch.where(alike, near, far) * balanced_weights(alike, counted), counted)
        to_bits = self.bits / 2 * (1 - directions.abs().sum(dim=1) / self.bits**0.5)
        return pairwise + self.quantization * torch.log1p(to_bits.clamp(min=0) / self.radius).mean()
