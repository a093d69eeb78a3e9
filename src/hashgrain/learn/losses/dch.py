"""Deep Cauchy hashing: similar pictures within a small Hamming ball."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from hashgrain.learn.losses.loss import Loss
from hashgrain.learn.losses.relaxed import balanced_weights, mean_over, pairs, same

CLOSEST = 1e-3
"""In bits. Dissimilar pictures closer than this have no higher loss: the logarithm is unbounded."""


class DchLoss(Loss):
    """Two pictures are similar with probability radius / (radius + d) (DCH: Cao et al., 2018).

    mean of weight * (log(1 + d / radius) for similar pairs, log(1 + radius / d) for others), weights of HashNet,
    + quantization * mean of log(1 + d(|u|, 1) / radius); d = bits / 2 * (1 - cosine), a Hamming distance for bits.
    The authors' code takes |u_i - u_j|^2 for d and no quantization, and omits the pair of a picture with itself, as
    here. The toolbox keeps it and cuts the cosine at 0.99, so pairs closer than 0.5 % of the bits have no gradient.
    """

    def __init__(self, bits: int, classes: int, *, radius: float = 20.0, quantization: float = 0.1) -> None:
        super().__init__(bits, classes)
        self.radius, self.quantization = radius, quantization

    def forward(self, outputs: Tensor, truth: Tensor) -> Tensor:
        similar, counted = same(truth), pairs(outputs)
        directions = F.normalize(outputs, dim=1, eps=1e-4)  # a row of zeros would have a gradient of 1e12
        distance = (self.bits / 2 * (1 - directions @ directions.T)).clamp(min=0)
        near = torch.log1p(distance / self.radius)
        far = torch.log1p(self.radius / distance.clamp(min=CLOSEST))
        pairwise = mean_over(torch.where(similar, near, far) * balanced_weights(similar, counted), counted)
        to_bits = self.bits / 2 * (1 - directions.abs().sum(dim=1) / self.bits**0.5)
        return pairwise + self.quantization * torch.log1p(to_bits.clamp(min=0) / self.radius).mean()
