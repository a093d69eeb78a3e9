"""Deep hashing network: the likelihood of pairs and a smooth prior for binary outputs."""

from __future__ import annotations

from torch import Tensor

from hashgrain.learn.losses.loss import Loss
from hashgrain.learn.losses.quantization import log_cosh_quantization
from hashgrain.learn.losses.relaxed import disagreement, inner_products, mean_over, pairs, same


class DhnLoss(Loss):
    """Likelihood of the pairs, and a prior that peaks at -1 and +1 (DHN: Zhu et al., 2016).

    mean of log(1 + exp(t)) - similar * t, t = <u_i, u_j> / 2, + quantization * mean of log cosh(|u| - 1).
    Toolboxes use the absolute value or the square instead of log cosh.
    """

    def __init__(self, bits: int, classes: int, *, odds: float | None = None, quantization: float = 0.1) -> None:
        super().__init__(bits, classes)
        self.odds, self.quantization = odds, quantization

    def forward(self, outputs: Tensor, truth: Tensor) -> Tensor:
        likelihood = mean_over(disagreement(inner_products(outputs, self.odds), same(truth)), pairs(outputs))
        return likelihood + self.quantization * log_cosh_quantization(outputs)
