"""CSQ, central similarity: each bit of a picture is that of its class's centre."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from hashgrain.learn.losses.loss import Loss
from hashgrain.learn.losses.quantisation import quantisation as to_bits
from hashgrain.learn.losses.relaxed import mean_over
from hashgrain.learn.training.centres import centres_for, shared_centres, tie_breaker


class CsqLoss(Loss):
    """Binary cross-entropy of the bits to the centre, with h = tanh(u) (Yuan et al., 2020).

    BCE((h + 1) / 2, (centre + 1) / 2) + quantisation * mean (|h| - 1)^2. (h + 1) / 2 is sigmoid(2 u). The centre of
    several labels is their majority bit by bit; a picture without labels has none.
    """

    centres: Tensor
    ties: Tensor

    def __init__(
        self, bits: int, classes: int, *, centres: Tensor | None = None, quantisation: float = 0.05, seed: int = 0
    ) -> None:
        super().__init__(bits, classes)
        self.quantisation = quantisation
        self.register_buffer("centres", centres_for(centres, classes, bits, seed))
        self.register_buffer("ties", tie_breaker(bits, seed))

    def forward(self, outputs: Tensor, truth: Tensor) -> Tensor:
        wanted = (shared_centres(truth, self.centres, self.ties).to(outputs.dtype) + 1) / 2
        entropy = F.binary_cross_entropy_with_logits(2 * outputs, wanted, reduction="none").mean(dim=1)
        return mean_over(entropy, truth.any(dim=1)) + self.quantisation * to_bits(torch.tanh(outputs))
