"""MIHash: the mutual information of the distance and the similarity of two pictures."""

from __future__ import annotations

import torch
from torch import Tensor

from hashgrain.learn.losses.loss import Loss
from hashgrain.learn.losses.relaxed import pairs, relaxed_hamming, same


class MiHashLoss(Loss):
    """Minus the mutual information of distance and similarity (MIHash: Cakir et al., ICCV 2017).

    mean over anchors of -(H(D) - P(+) H(D | +) - P(-) H(D | -)), entropies in nats, of the distances from the anchor
    to the other pictures of the batch: D = (bits - <h_i, h_j>) / 2, h = tanh(u / 2).
    Each distance is shared by the two nearest of `bins` + 1 equally spaced bins from 0 to bits, by the triangular
    kernel of Ustinova and Lempitsky (2016). By default there is one bin per distance.
    """

    def __init__(self, bits: int, classes: int, *, bins: int = 16) -> None:
        super().__init__(bits, classes)
        self.bins = min(bins, bits) if bins else bits

    def forward(self, outputs: Tensor, truth: Tensor) -> Tensor:
        if len(outputs) < 2:
            return outputs.sum() * 0
        others = pairs(outputs)
        similar = same(truth)
        distance = relaxed_hamming(torch.tanh(outputs / 2)) * (self.bins / self.bits)
        bins = torch.arange(self.bins + 1, device=outputs.device, dtype=outputs.dtype)
        shares = (1 - (distance[:, :, None] - bins).abs()).clamp(min=0)  # (n, n, bins + 1), each pair's sum to 1
        near, far = ((shares * counted[:, :, None]).sum(dim=1) for counted in (others & similar, others & ~similar))
        number = near.sum(dim=1), far.sum(dim=1)
        total = len(outputs) - 1
        conditional = sum(
            n / total * entropy(part / n.clamp(min=1)[:, None]) for part, n in zip((near, far), number, strict=True)
        )
        return (conditional - entropy((near + far) / total)).mean()


def entropy(shares: Tensor) -> Tensor:
    """The entropy of each row in nats. 0 log 0 is 0, without gradient."""
    return -torch.where(shares > 0, shares * shares.clamp(min=1e-12).log(), torch.zeros_like(shares)).sum(dim=1)
