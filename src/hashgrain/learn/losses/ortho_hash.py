"""OrthoHash: a single loss on the cosines to fixed binary centers of the classes."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from hashgrain.learn.losses.classification import margin_cross_entropy
from hashgrain.learn.losses.loss import Loss
from hashgrain.learn.training.centers import centers_for

SHORTEST = 1e-4  # outputs shorter than that keep their length: the direction of a zero vector has no finite gradient


class OrthoHashLoss(Loss):
    """Cross-entropy over the cosines to all centers, with a margin at the labels (Hoe et al., 2021).

    - sum_c share_c log softmax_c(scale * (cos(u, center_c) - margin * [c is a label])): the centers are binary, so a
    small angle is a small Hamming distance and needs no quantization term. The labels of a picture share 1. It expects
    outputs normalized per bit, as the head here provides; that is half of the method.
    """

    centers: Tensor

    class_codes = "centers"

    def __init__(
        self,
        bits: int,
        classes: int,
        *,
        centers: Tensor | None = None,
        scale: float = 8.0,
        margin: float = 0.2,
        label_smoothing: float = 0.0,
        seed: int = 0,
    ) -> None:
        super().__init__(bits, classes)
        self.scale, self.margin, self.label_smoothing = scale, margin, label_smoothing
        self.register_buffer("centers", centers_for(centers, classes, bits, seed))

    def forward(self, outputs: Tensor, truth: Tensor) -> Tensor:
        cosines = cosines_to(self.centers, outputs)
        return margin_cross_entropy(cosines, truth, self.scale, self.margin, self.label_smoothing)


def cosines_to(centers: Tensor, outputs: Tensor) -> Tensor:
    """(n, classes): cosines of the outputs to the centers."""
    directions = F.normalize(outputs, dim=1, eps=SHORTEST)
    return directions @ F.normalize(centers, dim=1).to(outputs.dtype).T
