"""Similarity distribution calibration: similarities of codes get a given distribution, in the order of features."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from hashgrain.learn.losses.loss import Loss
from hashgrain.learn.losses.quantization import cosine_quantization

GRID = 1 << 14  # points of the distribution function: its error is far below a bit


class SdcLoss(Loss):
    """Code similarities follow the quantiles of a beta distribution (SDC: Ng et al., BMVC 2023). No labels.

    The pairs are rows i and i + n / 2. In the order of the cosines of their features, the cosines of their outputs
    regress to the quantiles of 2 B - 1, B ~ Beta(shape, shape), at (k - 1/2) / pairs; negative ones are cut to 0:
    mean of |cos(u_i, u_j) - quantile| + quantization * mean of 1 - cos(u, sign u).
    So dissimilar pictures end up half of the bits apart even if their features are similar: the feature cosines of most
    networks are all well above 0, and codes that copied them could not separate near from far.
    """

    quantiles: Tensor

    unsupervised = True
    views = 1  # pictures of a batch are compared with each other

    def __init__(self, bits: int, classes: int, *, shape: float = 5.0, quantization: float = 1.0) -> None:
        super().__init__(bits, classes)
        self.shape, self.quantization = shape, quantization

    def forward(self, outputs: Tensor, truth: Tensor) -> Tensor:
        half = len(outputs) // 2
        if not half:
            return outputs.sum() * 0
        order = F.cosine_similarity(truth[:half], truth[half : 2 * half], dim=1).argsort()
        found = F.cosine_similarity(outputs[:half], outputs[half : 2 * half], dim=1, eps=1e-6)[order]
        wanted = torch.from_numpy(calibration(half, self.shape)).to(outputs)
        return (found - wanted).abs().mean() + self.quantization * cosine_quantization(outputs)


def calibration(pairs: int, shape: float) -> NDArray[np.float64]:
    """The target similarities of so many pairs, in ascending order."""
    edges = np.linspace(0, 1, GRID + 1)
    middles = (edges[1:] + edges[:-1]) / 2
    shares = np.concatenate([[0.0], np.cumsum((middles * (1 - middles)) ** (shape - 1))])
    quantiles = np.interp((np.arange(pairs) + 0.5) / pairs, shares / shares[-1], edges)
    return np.asarray(np.maximum(2 * quantiles - 1, 0.0), np.float64)
