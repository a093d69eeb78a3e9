"""Penalties for unbalanced and for correlated bits.

Both are means over bits, so neither grows with the length of the code.
"""

from __future__ import annotations

import torch
from torch import Tensor


def balance(outputs: Tensor) -> Tensor:
    """Mean over bits of (mean over pictures of tanh(output))^2: 0 if each bit is set in half of the pictures.

    The inner mean is over pictures. A mean over bits, as in DBDH's code, would ask each code for as many ones as zeros.
    """
    return torch.tanh(outputs).mean(dim=0).square().mean()


def decorrelation(outputs: Tensor) -> Tensor:
    """||H'H / n - I||^2 / bits, H = tanh(outputs) of n pictures (spectral hashing, Weiss et al., 2008)."""
    near_bits = torch.tanh(outputs)
    correlations = near_bits.T @ near_bits / len(outputs)
    identity = torch.eye(outputs.shape[1], dtype=outputs.dtype, device=outputs.device)
    return (correlations - identity).square().sum() / outputs.shape[1]
