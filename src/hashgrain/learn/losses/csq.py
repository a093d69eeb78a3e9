"""CSQ, central similarity: the target of each bit is the bit of the class's center."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from hashgrain.learn.losses.loss import Loss
from hashgrain.learn.losses.quantization import quantization as to_bits
from hashgrain.learn.losses.relaxed import mean_over
from hashgrain.learn.training.centers import centers_for, shared_centers, tie_breaker


class CsqLoss(Loss):
    """Binary cross-entropy of the bits to the center, with h = tanh(u) (Yuan et al., 2020).

    BCE((h + 1) / 2, (center + 1) / 2) + quantization * mean (|h| - 1)^2. (h + 1) / 2 is sigmoid(2 u). The center of
    several labels is their bitwise majority; a picture without labels has none.
    """

    centers: Tensor
    ties: Tensor

    class_codes = "centers"

    def __init__(
        self, bits: int, classes: int, *, centers: Tensor | None = None, quantization: float = 0.05, seed: int = 0
    ) -> None:
        super().__init__(bits, classes)
        self.quantization = quantization
        self.register_buffer("centers", centers_for(centers, classes, bits, seed))
        self.register_buffer("ties", tie_breaker(bits, seed))

    def forward(self, outputs: Tensor, truth: Tensor) -> Tensor:
        wanted = (shared_centers(truth, self.centers, self.ties).to(outputs.dtype) + 1) / 2
        entropy = F.binary_cross_entropy_with_logits(2 * outputs, wanted, reduction="none").mean(dim=1)
        return mean_over(entropy, truth.any(dim=1)) + self.quantization * to_bits(torch.tanh(outputs))
