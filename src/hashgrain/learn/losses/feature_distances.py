"""Distances of codes follow distances of features."""

from __future__ import annotations

import torch
from torch import Tensor

from hashgrain.learn.losses.loss import Loss
from hashgrain.learn.losses.relaxed import mean_over, pairs, relaxed_hamming


class FeatureDistancesLoss(Loss):
    """Squared error of the distances of codes, as in binary reconstructive embeddings (Kulis and Darrell, 2009).

    mean over pairs of (d(h_i, h_j) / bits - target)^2 with h = tanh(u) and d = (bits - <h_i, h_j>) / 2: for binary
    codes the share of differing bits. The target is |f_i - f_j| over twice its mean in the batch, at most 1: a pair
    with the average feature distance differs in half of the bits, as most pairs of codes do.
    """

    unsupervised = True

    def forward(self, outputs: Tensor, truth: Tensor) -> Tensor:
        counted = pairs(outputs)
        apart = relaxed_hamming(torch.tanh(outputs)) / self.bits
        return mean_over((apart - targets(truth.detach()).to(outputs.dtype)).square(), counted)


def targets(features: Tensor) -> Tensor:
    """(n, n): the target share of differing bits of each pair."""
    distances = torch.cdist(features.float(), features.float(), compute_mode="donot_use_mm_for_euclid_dist")
    middle = mean_over(distances, pairs(features))
    return (distances / (2 * middle).clamp(min=1e-12)).clamp(max=1)
