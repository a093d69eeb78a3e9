"""Each view foretells the bits of the other, and all the codes together take up much room."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from hashgrain.learn.losses.instance import two_views
from hashgrain.learn.losses.loss import Loss
from hashgrain.learn.losses.relaxed import signs


def coding_rate(outputs: Tensor, distortion: float) -> Tensor:
    """1/2 log det(I + bits / (n distortion) Z'Z): the room that n directions Z take up (Ma et al., 2007)."""
    n, bits = outputs.shape
    directions = F.normalize(outputs, dim=1)
    identity = torch.eye(bits, dtype=outputs.dtype, device=outputs.device)
    spread = identity + bits / (max(1, n) * distortion) * directions.T @ directions
    factor: Tensor = torch.linalg.cholesky(spread)  # its diagonal squared multiplies up to the determinant
    return factor.diagonal().log().sum()


def foretold(outputs: Tensor, others: Tensor) -> Tensor:
    """Mean cross-entropy between sigmoid(output) and the bits of the others, which get no gradient."""
    bits = (signs(others) + 1) / 2
    return F.binary_cross_entropy_with_logits(outputs, bits, reduction="sum") / max(1, outputs.numel())


class CodingRateLoss(Loss):
    """foretold both ways - weight * (n + bits) / (n bits) * coding_rate, means over the two views (CroVCA, Moummad
    et al., 2025).

    Outputs should come from a batch norm, as the paper's do: it keeps bits balanced. Features are not used.
    """

    unsupervised = True
    views = 2

    def __init__(self, bits: int, classes: int, *, weight: float = 0.1, distortion: float = 0.05) -> None:
        super().__init__(bits, classes)
        self.weight, self.distortion = weight, distortion

    def forward(self, outputs: Tensor, truth: Tensor) -> Tensor:
        first, second = two_views(outputs)
        agreement = (foretold(first, second) + foretold(second, first)) / 2
        rate = (coding_rate(first, self.distortion) + coding_rate(second, self.distortion)) / 2
        n = max(1, len(first))
        return agreement - self.weight * (n + self.bits) / (n * self.bits) * rate
