"""DPN, polarization: each output exceeds a margin on the side of its target."""

from __future__ import annotations

from torch import Tensor

from hashgrain.learn.losses.loss import Loss
from hashgrain.learn.losses.relaxed import mean_over
from hashgrain.learn.training.centers import centers_for, shared_centers, tie_breaker


class DpnLoss(Loss):
    """A hinge for every bit (Fan et al., 2020): mean max(0, margin - u * target).

    The target is the center of the class; for several labels it is their bitwise majority. Pictures without labels have
    none.
    """

    centers: Tensor
    ties: Tensor

    class_codes = "centers"

    def __init__(
        self, bits: int, classes: int, *, centers: Tensor | None = None, margin: float = 1.0, seed: int = 0
    ) -> None:
        super().__init__(bits, classes)
        self.margin = margin
        self.register_buffer("centers", centers_for(centers, classes, bits, seed))
        self.register_buffer("ties", tie_breaker(bits, seed))

    def forward(self, outputs: Tensor, truth: Tensor) -> Tensor:
        target = shared_centers(truth, self.centers, self.ties).to(outputs.dtype)
        hinge = (self.margin - outputs * target).clamp(min=0).mean(dim=1)
        return mean_over(hinge, truth.any(dim=1))
