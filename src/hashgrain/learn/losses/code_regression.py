"""Outputs regress to the code of their class."""

from __future__ import annotations

import torch
from torch import Tensor

from hashgrain.errors import TrainingError
from hashgrain.learn.losses.loss import Loss
from hashgrain.learn.training.centers import class_centers


class CodeRegressionLoss(Loss):
    """Mean of (sigmoid(u) - code)^2, the code of a class in zeros and ones. A bit is 1 if sigmoid(u) >= 0.5.

    `codes` (classes, bits) are the codes of the classes; by default they are the distant centers of other losses, made
    from `seed`. The target of a picture with several labels is the mean of their
    codes: bits on which they disagree are drawn to the middle. Pictures without labels are ignored.
    """

    class_codes = "codes"

    def __init__(self, bits: int, classes: int, *, codes: Tensor | None = None, seed: int = 0) -> None:
        super().__init__(bits, classes)
        if codes is None:
            codes = (class_centers(classes, bits, seed).tensor() + 1) / 2
        if codes.shape != (classes, bits) or not ((codes == 0) | (codes == 1)).all():
            raise TrainingError(
                f"target codes must be zeros and ones, {classes} classes by {bits} bits, "
                f"and these {tuple(codes.shape)} are not; give one row of bits for each class"
            )
        self.register_buffer("codes", codes.float())
        self.codes: Tensor

    def forward(self, outputs: Tensor, truth: Tensor) -> Tensor:
        labels = truth.sum(dim=1, keepdim=True)
        target = truth @ self.codes.to(truth.dtype) / labels.clamp(min=1)
        error = (torch.sigmoid(outputs) - target).square() * (labels > 0)
        return error.sum() / ((labels > 0).sum().clamp(min=1) * self.bits)
