"""Each view predicts the bits of the other, and the coding rate of all codes is maximized."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from hashgrain.learn.losses.instance import two_views
from hashgrain.learn.losses.loss import Loss
from hashgrain.learn.losses.relaxed import signs


def coding_rate(outputs: Tensor, distortion: float) -> Tensor:
    """1/2 log det(I + bits / (n distortion) Z'Z): the coding rate of n directions Z (Ma et al., 2007)."""
    n, bits = outputs.shape
    directions = F.normalize(outputs, dim=1)
    identity = torch.eye(bits, dtype=outputs.dtype, device=outputs.device)
    spread = identity + bits / (max(1, n) * distortion) * directions.T @ directions
    factor: Tensor = torch.linalg.cholesky(spread)  # the determinant is the product of its squared diagonal
    return factor.diagonal().log().sum()


def cross_prediction(outputs: Tensor, others: Tensor) -> Tensor:
    """Mean cross-entropy between sigmoid(output) and the bits of `others`, which get no gradient."""
    bits = (signs(others) + 1) / 2
    return F.binary_cross_entropy_with_logits(outputs, bits, reduction="sum") / max(1, outputs.numel())


class CodingRateLoss(Loss):
    """cross_prediction both ways - weight * (n + bits) / (n bits) * coding_rate, means over the two views (CroVCA,
    Moummad et al., 2025).

    Outputs should come from a batch norm, as in the paper: it keeps bits balanced. Features are not used.
    """

    unsupervised = True
    views = 2

    def __init__(self, bits: int, classes: int, *, weight: float = 0.1, distortion: float = 0.05) -> None:
        super().__init__(bits, classes)
        self.weight, self.distortion = weight, distortion

    def forward(self, outputs: Tensor, truth: Tensor) -> Tensor:
        first, second = two_views(outputs)
        agreement = (cross_prediction(first, second) + cross_prediction(second, first)) / 2
        rate = (coding_rate(first, self.distortion) + coding_rate(second, self.distortion)) / 2
        n = max(1, len(first))
        return agreement - self.weight * (n + self.bits) / (n * self.bits) * rate
