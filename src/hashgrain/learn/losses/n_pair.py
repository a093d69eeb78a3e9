"""N-pair loss: one positive against the positives of all other kinds."""

from __future__ import annotations

import torch
from torch import Tensor

from hashgrain.learn.losses import metric_learning
from hashgrain.learn.losses.loss import Loss
from hashgrain.learn.losses.relaxed import pairs, same


class NPairLoss(Loss):
    """Softmax over the positives of anchors that have nothing in common (Sohn, 2016).

    mean over anchors of -log exp(t(anchor, its positive)) / sum over all positives of exp(t(anchor, positive)),
    t = <u_i, u_j> / 2, + norm * mean of |u|^2; pytorch-metric-learning computes the softmax.
    The paper gives no weight for the norm; 0.002 is customary.
    """

    def __init__(self, bits: int, classes: int, *, norm: float = 0.002) -> None:
        super().__init__(bits, classes)
        self.norm = norm
        self.contrast = metric_learning.n_pair()

    def forward(self, outputs: Tensor, truth: Tensor) -> Tensor:
        halves = outputs / 2**0.5  # of which the inner product is t
        contrast = metric_learning.judge(self.contrast, halves, strangers(same(truth)))
        return contrast + self.norm * outputs.square().sum(dim=1).mean()


def strangers(alike: Tensor) -> metric_learning.Rows:
    """Anchors and their positives, in order of rows, no two pairs of which have a label in common; no negatives.

    pytorch-metric-learning would take one pair of each label, of which two may share another label.
    """
    alike_here = (alike & pairs(alike)).cpu()
    free = torch.ones(len(alike), dtype=torch.bool)
    chosen: list[tuple[int, int]] = []
    for anchor in range(len(alike)):
        partners = (alike_here[anchor] & free).nonzero()
        if free[anchor] and len(partners):
            positive = int(partners[0])
            chosen.append((anchor, positive))
            free &= ~(alike_here[anchor] | alike_here[positive])
    anchors, positives = torch.tensor(chosen, dtype=torch.long, device=alike.device).reshape(-1, 2).unbind(dim=1)
    return anchors, positives, anchors[:0], anchors[:0]
