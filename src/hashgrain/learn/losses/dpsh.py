"""Deep pairwise-supervised hashing: inner products are the log-odds of similarity."""

from __future__ import annotations

from torch import Tensor

from hashgrain.learn.losses.loss import Loss
from hashgrain.learn.losses.relaxed import disagreement, inner_products, mean_over, pairs, same, signs


class DpshLoss(Loss):
    """Likelihood of the pairs, all with the same weight (DPSH: Li et al., 2016).

    mean of log(1 + exp(t)) - similar * t, t = <u_i, u_j> / 2, + quantization * mean of (u - sign(u))^2.
    The paper tunes the weight of quantization for each data set; toolboxes use 0.1 on means.
    """

    def __init__(self, bits: int, classes: int, *, odds: float | None = None, quantization: float = 0.1) -> None:
        super().__init__(bits, classes)
        self.odds, self.quantization = odds, quantization

    def forward(self, outputs: Tensor, truth: Tensor) -> Tensor:
        likelihood = mean_over(disagreement(inner_products(outputs, self.odds), same(truth)), pairs(outputs))
        return likelihood + self.quantization * (outputs - signs(outputs)).square().mean()
