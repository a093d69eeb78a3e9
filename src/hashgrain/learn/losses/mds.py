"""Centers with a minimal distance; pictures are pulled to their centers and to similar pictures."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from hashgrain.learn.losses.loss import Loss
from hashgrain.learn.losses.ortho_hash import SHORTEST
from hashgrain.learn.losses.quantization import quantization as to_bits
from hashgrain.learn.losses.relaxed import mean_over, pairs, same
from hashgrain.learn.training.centers import centers_for

LEAST = 1e-6  # of a probability whose logarithm is taken


class MdsLoss(Loss):
    """Deep hashing with minimal-distance-separated hash centers (MDS: Wang et al., CVPR 2023).

    p = softmax over classes of sqrt(bits) * cos(u, center),
    - mean over pictures and classes of log p for labels, log(1 - p) for other classes,
    + pairs * mean over similar pairs of log(1 + exp((1 - cos(u_i, u_j)) / 2)) + quantization * mean (|u| - 1)^2.
    The paper requires that no two centers are closer than the Gilbert-Varshamov bound; the centers here are not. Its
    code pairs a batch with a memory of all pictures after some epochs; here the batch is paired with itself.
    """

    centers: Tensor

    class_codes = "centers"

    def __init__(
        self,
        bits: int,
        classes: int,
        *,
        centers: Tensor | None = None,
        pairs: float = 1.0,
        quantization: float = 1e-4,
        seed: int = 0,
    ) -> None:
        super().__init__(bits, classes)
        self.pairs, self.quantization = pairs, quantization
        self.register_buffer("centers", centers_for(centers, classes, bits, seed))

    def forward(self, outputs: Tensor, truth: Tensor) -> Tensor:
        directions = F.normalize(outputs, dim=1, eps=SHORTEST)
        cosines = directions @ F.normalize(self.centers, dim=1).to(outputs.dtype).T
        shares = (self.bits**0.5 * cosines).softmax(dim=1)
        right = shares * truth + (1 - shares) * (1 - truth)
        classified = mean_over(-right.clamp(min=LEAST).log().mean(dim=1), truth.any(dim=1))
        apart = F.softplus((1 - directions @ directions.T) / 2)
        together = mean_over(apart, same(truth) & pairs(outputs))
        return classified + self.pairs * together + self.quantization * to_bits(outputs)
