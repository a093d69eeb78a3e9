"""Logit adjustment for classes of unequal size."""

from __future__ import annotations

import torch
from torch import Tensor

from hashgrain.learn.losses.classification import label_cross_entropy
from hashgrain.learn.losses.loss import Loss
from hashgrain.learn.losses.ortho_hash import cosines_to
from hashgrain.learn.training.centers import centers_for


class LogitAdjustedLoss(Loss):
    """Cosines to fixed centers, adjusted to the class frequencies (Menon et al., ICLR 2021, on OrthoHash).

    Cross-entropy over scale * cos(u, center_c) + strength * log(share of class c), the labels of a picture sharing 1.
    The shares are those of the training pictures' labels. The added term gives frequent classes the higher score, so
    the outputs need not encode the frequency; codes are made without that term.
    With equal frequencies it is OrthoHash without its margin. A class without pictures counts as if it had one.
    """

    centers: Tensor
    log_shares: Tensor

    class_codes = "centers"

    def __init__(
        self,
        bits: int,
        classes: int,
        *,
        centers: Tensor | None = None,
        scale: float = 8.0,
        strength: float = 1.0,
        seed: int = 0,
    ) -> None:
        super().__init__(bits, classes)
        self.scale, self.strength = scale, strength
        self.register_buffer("centers", centers_for(centers, classes, bits, seed))
        self.register_buffer("log_shares", torch.zeros(classes))

    def meet(self, truth: Tensor) -> None:
        counts = truth.sum(dim=0).clamp(min=1)
        self.log_shares.copy_((counts / counts.sum()).log())

    def forward(self, outputs: Tensor, truth: Tensor) -> Tensor:
        scores = self.scale * cosines_to(self.centers, outputs) + self.strength * self.log_shares.to(outputs.dtype)
        return label_cross_entropy(scores, truth)
