"""N-pair loss: one positive against the positives of all other classes."""

from __future__ import annotations

import torch
from torch import Tensor

from hashgrain.learn.losses import metric_learning
from hashgrain.learn.losses.loss import Loss
from hashgrain.learn.losses.relaxed import pairs, same


class NPairLoss(Loss):
    """Softmax over the positives of anchors without common labels (Sohn, 2016).

    mean over anchors of -log exp(t(anchor, its positive)) / sum over all positives of exp(t(anchor, positive)),
    t = <u_i, u_j> / 2, + norm * mean of |u|^2; pytorch-metric-learning computes the softmax.
    The paper gives no weight for the norm; 0.002 is customary.
    """

    def __init__(self, bits: int, classes: int, *, norm: float = 0.002) -> None:
        super().__init__(bits, classes)
        self.norm = norm
        self.contrast = metric_learning.n_pair()

    def forward(self, outputs: Tensor, truth: Tensor) -> Tensor:
        halves = outputs / 2**0.5  # their inner product is t
        contrast = metric_learning.evaluate_loss(self.contrast, halves, unrelated_pairs(same(truth)))
        return contrast + self.norm * outputs.square().sum(dim=1).mean()


def unrelated_pairs(similar: Tensor) -> metric_learning.IndicesTuple:
    """Anchors and their positives in order of rows; no two pairs have a common label. There are no negatives.

    pytorch-metric-learning would take one pair per label, and two of these may share another label.
    """
    similar_here = (similar & pairs(similar)).cpu()
    free = torch.ones(len(similar), dtype=torch.bool)
    chosen: list[tuple[int, int]] = []
    for anchor in range(len(similar)):
        partners = (similar_here[anchor] & free).nonzero()
        if free[anchor] and len(partners):
            positive = int(partners[0])
            chosen.append((anchor, positive))
            free &= ~(similar_here[anchor] | similar_here[positive])
    anchors, positives = torch.tensor(chosen, dtype=torch.long, device=similar.device).reshape(-1, 2).unbind(dim=1)
    return anchors, positives, anchors[:0], anchors[:0]
