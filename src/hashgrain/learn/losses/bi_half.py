"""Similarities of codes match those of features, and each bit splits the batch in half."""

from __future__ import annotations

import torch
from torch import Tensor

from hashgrain.learn.losses.greedy_hash_unsupervised import likeness_gap
from hashgrain.learn.losses.loss import Loss
from hashgrain.learn.losses.relaxed import signs


def half_and_half(outputs: Tensor) -> Tensor:
    """For each bit +1 in the half of the batch with the highest outputs and -1 in the rest, without gradient.

    In an odd batch, the middle picture keeps its sign. If outputs are equal, earlier rows come first.
    """
    half = len(outputs) // 2
    ranked, rows = outputs.detach().sort(dim=0, descending=True, stable=True)
    bits = signs(ranked)
    bits[:half], bits[len(bits) - half :] = 1, -1
    return torch.zeros_like(bits).scatter(0, rows, bits)


class BiHalfLoss(Loss):
    """likeness_gap(B, features), B = half_and_half(u) (BiHalf, Li and van Gemert, 2021).

    The paper's layer has the gradient g + pull * (u - B) / numel, g = the gradient at B. The second term is the
    gradient of pull / 2 * mean (u - B)^2, which is added to the loss here, so that its value and gradient agree.
    In `eval` mode B = signs(u): the bits that a search uses, which do not depend on the batch.
    """

    unsupervised = True
    views = 1  # one half of a batch is compared with the other

    def __init__(self, bits: int, classes: int, *, pull: float = 6.0) -> None:
        super().__init__(bits, classes)
        self.pull = pull

    def forward(self, outputs: Tensor, truth: Tensor) -> Tensor:
        bits = half_and_half(outputs) if self.training else signs(outputs)
        passing = bits + (outputs - outputs.detach())
        return likeness_gap(passing, truth) + self.pull / 2 * (outputs - bits).square().mean()
