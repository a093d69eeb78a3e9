"""Similarities of codes match those of features."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from hashgrain.learn.losses.loss import Loss
from hashgrain.learn.losses.quantization import cubic_quantization
from hashgrain.learn.losses.relaxed import straight_through


def likeness_gap(bits: Tensor, features: Tensor) -> Tensor:
    """Mean over pairs of (cos(bits_i, bits_j) - cos(features_i, features_j))^2; j is half a batch after i.

    The published pairs: one half of the batch against the other. They wrap around at the end, so that an odd batch is
    fully used. Rows should be different pictures: two views of one picture add little.
    """
    half, target = len(bits) // 2, features.detach()
    of_bits = F.cosine_similarity(bits, bits.roll(half, 0), dim=1)
    of_features = F.cosine_similarity(target, target.roll(half, 0), dim=1)
    return (of_bits - of_features).square().mean()


class GreedyHashUnsupervisedLoss(Loss):
    """likeness_gap(signs(u), features) + cubic * mean ||u| - 1|^3 (GreedyHash, Su et al., 2018, unsupervised).

    The signs have the gradient of the identity. The features must come from a network in `eval` mode: dropout
    would add noise to the target.
    """

    unsupervised = True
    views = 1  # pictures of a batch are compared with each other

    def __init__(self, bits: int, classes: int, *, cubic: float = 0.1) -> None:
        super().__init__(bits, classes)
        self.cubic = cubic

    def forward(self, outputs: Tensor, truth: Tensor) -> Tensor:
        return likeness_gap(straight_through(outputs), truth) + self.cubic * cubic_quantization(outputs)
