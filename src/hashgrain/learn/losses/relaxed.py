"""What several losses share: bits made smooth, and which pairs of a batch are alike."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def signs(outputs: Tensor) -> Tensor:
    """+1 where an output is 0 or more, else -1, without gradient. (torch.sign(0) is 0: half a bit away from both.)"""
    return torch.where(outputs.detach() >= 0, 1.0, -1.0).to(outputs.dtype)


def straight_through(outputs: Tensor) -> Tensor:
    """`signs`, with the gradient of the identity (Bengio et al., 2013)."""
    return signs(outputs) + (outputs - outputs.detach())


def same(hot: Tensor) -> Tensor:
    """(n, n) whether two pictures share a label. One without labels is like nothing, not even itself."""
    return hot @ hot.T > 0


def pairs(outputs: Tensor) -> Tensor:
    """(n, n) True but on the diagonal: a picture and itself teach nothing."""
    return ~torch.eye(len(outputs), dtype=torch.bool, device=outputs.device)


def triplets(alike: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Every (anchor, positive, negative) of a batch, as three lists of rows. No picture is its own positive."""
    anchor, positive = (alike & pairs(alike)).nonzero(as_tuple=True)
    which, negative = (~alike[anchor]).nonzero(as_tuple=True)
    return anchor[which], positive[which], negative


def balanced_weights(alike: Tensor, counted: Tensor) -> Tensor:
    """(n, n) weights that give alike and unlike pairs the same say: all that are counted by those of its sort.

    The class balance of HashNet and DCH (Cao et al., 2017 and 2018).
    """
    positive, negative, total = alike & counted, ~alike & counted, counted.sum()
    return positive * (total / positive.sum().clamp(min=1)) + negative * (total / negative.sum().clamp(min=1))


def mean_over(values: Tensor, counted: Tensor) -> Tensor:
    """Mean of the values that are counted; 0, with a path for gradients, where none is."""
    return (values * counted).sum() / counted.sum().clamp(min=1)


def inner_products(outputs: Tensor, odds: float | None = None) -> Tensor:
    """(n, n) the log-odds that two pictures are alike, in pairwise likelihoods: half the inner products as published,
    or `odds` / bits of them, whose range does not grow with the bits."""
    return outputs @ outputs.T * (0.5 if odds is None else odds / outputs.shape[1])


def disagreement(log_odds: Tensor, alike: Tensor) -> Tensor:
    """Minus log of the likelihood that two pictures are (or are not) alike: log(1 + exp(odds)) - alike * odds."""
    return F.softplus(log_odds) - alike * log_odds


def relaxed_hamming(codes: Tensor) -> Tensor:
    """(n, n) half of (bits - inner product): the Hamming distance where the codes are -1 and +1."""
    return (codes.shape[1] - codes @ codes.T) / 2


def shortfall(outputs: Tensor) -> Tensor:
    """|output| - 1: how far each output is from being a bit."""
    return outputs.abs() - 1
