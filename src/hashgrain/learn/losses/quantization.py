"""Quantization penalties on |output| - 1, the error of rounding to -1 and +1.

All are means over outputs (cosine: over pictures), so none grows with the length of the code.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch.nn.functional as F
from torch import Tensor

from hashgrain.learn.losses.relaxed import shortfall, signs


def quantization(outputs: Tensor) -> Tensor:
    """Mean of (|output| - 1)^2, the square of (output - bit) (DPSH, Li et al., 2016, and many later losses)."""
    return shortfall(outputs).square().mean()


def absolute_quantization(outputs: Tensor) -> Tensor:
    """Mean of ||output| - 1| (DSH, Liu et al., 2016)."""
    return shortfall(outputs).abs().mean()


def log_cosh_quantization(outputs: Tensor) -> Tensor:
    """Mean of log cosh(|output| - 1): absolute far from the bit, square near it (DHN, Zhu et al., 2016)."""
    distance = shortfall(outputs).abs()
    return (distance + F.softplus(-2 * distance) - math.log(2)).mean()  # cosh itself overflows


def cubic_quantization(outputs: Tensor) -> Tensor:
    """Mean of ||output| - 1|^3: lenient near the bit (GreedyHash, Su et al., 2018)."""
    return shortfall(outputs).abs().pow(3).mean()


def cosine_quantization(outputs: Tensor) -> Tensor:
    """Mean over pictures of 1 - cos(output, bits): only the direction counts."""
    return (1 - F.cosine_similarity(outputs, signs(outputs), dim=1)).mean()


def scaled_quantization(outputs: Tensor) -> Tensor:
    """Mean of (|output| - scale)^2, scale = the mean of |output| over the batch, for each bit (Rastegari et al., 2016).

    That scale is optimal for the bit, so magnitudes need not be 1. Nothing keeps them above 0 either: the loss that
    this is added to must do so.
    """
    magnitudes = outputs.abs()
    return (magnitudes - magnitudes.mean(dim=0)).square().mean()


QUANTIZATIONS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "squared": quantization,
    "absolute": absolute_quantization,
    "log_cosh": log_cosh_quantization,
    "cubic": cubic_quantization,
    "cosine": cosine_quantization,
    "scaled": scaled_quantization,
}
