"""Codes are as alike as features are, and each bit splits the batch in half."""

from __future__ import annotations

import torch
from torch import Tensor

from hashgrain.learn.losses.greedy_hash_unsupervised import likeness_gap
from hashgrain.learn.losses.loss import Loss
from hashgrain.learn.losses.relaxed import signs


def half_and_half(outputs: Tensor) -> Tensor:
    """For each bit +1 in the half of the batch where it is highest and -1 in the rest, without gradient.

    Of an odd batch, the picture in the middle keeps its sign. Of equal outputs, earlier rows come first.
    """
    half = len(outputs) // 2
    ranked, rows = outputs.detach().sort(dim=0, descending=True, stable=True)
    bits = signs(ranked)
    bits[:half], bits[len(bits) - half :] = 1, -1
    return torch.zeros_like(bits).scatter(0, rows, bits)


class BiHalfLoss(Loss):
    """likeness_gap(B, features), B = half_and_half(u) (BiHalf, Li and van Gemert, 2021).

    The paper's layer hands back g + pull * (u - B) / numel, g = the gradient at B. The second part is the gradient
    of pull / 2 * mean (u - B)^2, and is written so here: the number that is returned has the gradient it says.
    In `eval` mode B = signs(u), the bits that a search will see, which know of no batch.
    """

    unsupervised = True
    views = 1  # it compares one half of a batch with the other

    def __init__(self, bits: int, classes: int, *, pull: float = 6.0) -> None:
        super().__init__(bits, classes)
        self.pull = pull

    def forward(self, outputs: Tensor, truth: Tensor) -> Tensor:
        bits = half_and_half(outputs) if self.training else signs(outputs)
        passing = bits + (outputs - outputs.detach())
        return likeness_gap(passing, truth) + self.pull / 2 * (outputs - bits).square().mean()
