"""Similarities of codes match the similarities of labels."""

from __future__ import annotations

import torch
from torch import Tensor

from hashgrain.errors import TrainingError
from hashgrain.learn.losses.loss import Loss
from hashgrain.learn.losses.relaxed import mean_over, pairs
from hashgrain.learn.training.knowledge import checked_similarity


class DistancePreservingLoss(Loss):
    """Squared error of the similarities of codes, as in kernel supervised hashing (Liu et al., 2012).

    mean over pairs of (<h_i, h_j> / bits - target)^2 with h = tanh(u). For binary codes the first term is
    1 - 2 d / bits, d = the Hamming distance: 1 for equal codes, 0 if half of the bits differ. The target is the
    soft cosine of the labels (Sidorov et al., 2014), y_i S y_j / sqrt(y_i S y_i * y_j S y_j), where S holds the
    similarities of classes; without S it is the plain cosine. It is 0 for a picture without labels.
    """

    similarity: Tensor

    def __init__(self, bits: int, classes: int, *, similarity: Tensor | None = None) -> None:
        super().__init__(bits, classes)
        matrix = torch.eye(classes) if similarity is None else similarity.float()
        checked_similarity(matrix.double().cpu().numpy())
        if len(matrix) != classes or not bool((matrix.diagonal() > 0).all()):
            raise TrainingError(
                f"similarities of {len(matrix)} classes cannot teach {classes}: one row for each, and each class is"
                " like itself (above 0)"
            )
        self.register_buffer("similarity", matrix)

    def targets(self, truth: Tensor) -> Tensor:
        """(n, n) the soft cosines."""
        labels = truth.to(self.similarity.dtype)
        shared = labels @ self.similarity @ labels.T
        itself = shared.diagonal()
        lengths = torch.where(itself > 0, itself, 1).sqrt()
        return shared / (lengths[:, None] * lengths[None, :])

    def forward(self, outputs: Tensor, truth: Tensor) -> Tensor:
        codes = torch.tanh(outputs)
        error = codes @ codes.T / self.bits - self.targets(truth).to(outputs.dtype)
        return mean_over(error.square(), pairs(outputs))
