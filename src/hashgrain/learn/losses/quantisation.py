"""Outputs should already look like bits."""

from __future__ import annotations

from torch import Tensor


def quantisation(outputs: Tensor) -> Tensor:
    """Mean of (|output| - 1)^2: what is lost by rounding to -1 and +1."""
    return (outputs.abs() - 1).square().mean()
