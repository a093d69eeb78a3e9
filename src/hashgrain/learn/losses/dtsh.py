"""Deep hashing with triplets: an anchor is more similar to its positive than to a negative."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from hashgrain.learn.losses.loss import Loss
from hashgrain.learn.losses.relaxed import inner_products, same, signs, triplets


class DtshLoss(Loss):
    """Likelihood of the triplet labels (DTSH: Wang et al., 2016).

    mean over triplets of -log sigmoid(t(anchor, positive) - t(anchor, negative) - margin), t = <u_i, u_j> / 2,
    + quantization * mean of (u - sign(u))^2. The paper's margin is bits / 2. The toolbox uses 5 on <u_i, u_j>, the
    mean of each anchor's mean, and counts a picture as its own positive.
    """

    def __init__(
        self,
        bits: int,
        classes: int,
        *,
        margin: float | None = None,
        quantization: float = 1.0,
        odds: float | None = None,
    ) -> None:
        super().__init__(bits, classes)
        self.margin = margin if margin is not None else bits / 2 if odds is None else odds
        self.quantization, self.odds = quantization, odds

    def forward(self, outputs: Tensor, truth: Tensor) -> Tensor:
        anchor, positive, negative = triplets(same(truth))
        log_odds = inner_products(outputs, self.odds)
        lead = log_odds[anchor, positive] - log_odds[anchor, negative] - self.margin
        likelihood = F.softplus(-lead).sum() / max(len(lead), 1)
        return likelihood + self.quantization * (outputs - signs(outputs)).square().mean()
