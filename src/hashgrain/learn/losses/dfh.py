"""Deep Fisher hashing: pairs with a margin, and bits close to binary centers of their classes."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from hashgrain.learn.losses.loss import Loss
from hashgrain.learn.losses.relaxed import inner_products, mean_over, pairs, same, signs


class DfhLoss(Loss):
    """Push for quantization: deep Fisher hashing (DFH: Li et al., BMVC 2019), batch by batch.

    mean over pairs of log(1 + exp(margin - t)) for similar ones, log(1 + exp(margin + t)) for others,
    t = <u_i, u_j> / 2, + quantization * mean of (b - u)^2.
    b = sign(center_pull * sum of the centers of the labels + u): the bits of a picture, pulled to its classes.
    Each center is a word c in {-1, +1}, solved bit by bit: the minimum of |b - sum of c|^2 over the pictures, plus
    separation * sum over other classes of <c, c'>, given the other centers. A class without pictures in the batch
    keeps its center. b and c are constants: u gets gradients from the pairs and from (b - u)^2. The weights are those
    of the authors' code.
    """

    centers: Tensor

    def __init__(
        self,
        bits: int,
        classes: int,
        *,
        margin: float = 3.0,
        center_pull: float = 0.1,
        separation: float = 1.0,
        quantization: float = 0.5,
        odds: float | None = None,
    ) -> None:
        super().__init__(bits, classes)
        self.margin, self.center_pull, self.separation = margin, center_pull, separation
        self.quantization, self.odds = quantization, odds
        self.register_buffer("centers", torch.zeros(classes, bits))  # a class has no pull before its first picture

    def forward(self, outputs: Tensor, truth: Tensor) -> Tensor:
        similar, log_odds = same(truth), inner_products(outputs, self.odds)
        likelihood = F.softplus(self.margin + torch.where(similar, -log_odds, log_odds))
        codes = signs(self.center_pull * truth.to(outputs.dtype) @ self.centers.to(outputs.dtype) + outputs)
        if self.training:
            self.centers.copy_(moved_centers(self.centers.to(outputs.dtype), codes, truth, self.separation))
        return mean_over(likelihood, pairs(outputs)) + self.quantization * (codes - outputs).square().mean()


@torch.no_grad()
def moved_centers(centers: Tensor, codes: Tensor, truth: Tensor, separation: float) -> Tensor:
    """Update one class after the other: sign(sum of the bits of its pictures - the part of their other labels -
    separation * the sum of the other centers)."""
    moved, labels = centers.clone(), truth.to(centers.dtype)
    together = labels.T @ labels
    asked = labels.T @ codes
    for own in labels.any(dim=0).nonzero().flatten().tolist():
        weights = together[own] + separation
        weights[own] = 0
        moved[own] = signs(asked[own] - weights @ moved)
    return moved
