"""Deep supervised hashing: similar pictures close, others half of the bits apart."""

from __future__ import annotations

from torch import Tensor

from hashgrain.learn.losses.loss import Loss
from hashgrain.learn.losses.quantization import absolute_quantization
from hashgrain.learn.losses.relaxed import mean_over, pairs, same


class DshLoss(Loss):
    """Contrast of pairs on outputs that are pulled to -1 and +1 (DSH: Liu et al., 2016).

    D / 2 for similar pairs, max(0, margin - D) / 2 for others, D = |u_i - u_j|^2,
    + quantization * (sum over bits of ||u| - 1|, of both pictures of the pair).
    The margin is 2 * bits: half of the bits if outputs are -1 and +1. Toolboxes use quantization 0.1 and the mean
    over bits. Pairs are those of the batch: a memory of outputs that starts at zero would count as dissimilar pictures.
    """

    def __init__(self, bits: int, classes: int, *, margin: float | None = None, quantization: float = 0.01) -> None:
        super().__init__(bits, classes)
        self.margin = 2.0 * bits if margin is None else margin
        self.quantization = quantization

    def forward(self, outputs: Tensor, truth: Tensor) -> Tensor:
        similar, distance = same(truth), squared_distances(outputs)
        contrast = (distance * similar + (self.margin - distance).clamp(min=0) * ~similar) / 2
        of_a_pair = 2 * self.bits * absolute_quantization(outputs)
        return mean_over(contrast, pairs(outputs)) + self.quantization * of_a_pair


def squared_distances(outputs: Tensor) -> Tensor:
    """(n, n) squared Euclidean distances: four times the Hamming distance if the outputs are -1 and +1."""
    lengths = outputs.square().sum(dim=1)
    return (lengths[:, None] + lengths[None, :] - 2 * outputs @ outputs.T).clamp(min=0)
