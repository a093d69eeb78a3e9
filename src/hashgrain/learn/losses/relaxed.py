"""Shared parts of losses: relaxed bits, and the similar pairs of a batch."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def signs(outputs: Tensor) -> Tensor:
    """+1 for outputs of 0 or more, else -1, without gradient. (torch.sign(0) would be 0.)"""
    return torch.where(outputs.detach() >= 0, 1.0, -1.0).to(outputs.dtype)


def straight_through(outputs: Tensor) -> Tensor:
    """`signs`, with the gradient of the identity (Bengio et al., 2013)."""
    return signs(outputs) + (outputs - outputs.detach())


def same(hot: Tensor) -> Tensor:
    """(n, n) whether two pictures share a label. A picture without labels is similar to none, not even itself."""
    return hot @ hot.T > 0


def pairs(outputs: Tensor) -> Tensor:
    """(n, n) True except on the diagonal."""
    return ~torch.eye(len(outputs), dtype=torch.bool, device=outputs.device)


def triplets(similar: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Every (anchor, positive, negative) of a batch, as three lists of rows. No picture is its own positive."""
    anchor, positive = (similar & pairs(similar)).nonzero(as_tuple=True)
    which, negative = (~similar[anchor]).nonzero(as_tuple=True)
    return anchor[which], positive[which], negative


def balanced_weights(similar: Tensor, counted: Tensor) -> Tensor:
    """(n, n) weights that balance similar and other pairs: the number of counted pairs by that of the pair's group.

    The class balance of HashNet and DCH (Cao et al., 2017 and 2018).
    """
    positive, negative, total = similar & counted, ~similar & counted, counted.sum()
    return positive * (total / positive.sum().clamp(min=1)) + negative * (total / negative.sum().clamp(min=1))


def mean_over(values: Tensor, counted: Tensor) -> Tensor:
    """Mean of the counted values; 0, connected to the graph, if there are none."""
    return (values * counted).sum() / counted.sum().clamp(min=1)


def inner_products(outputs: Tensor, odds: float | None = None) -> Tensor:
    """(n, n) log-odds that two pictures are similar, for pairwise likelihoods: half the inner products as published, or
    `odds` / bits of them, whose range does not grow with the bits."""
    return outputs @ outputs.T * (0.5 if odds is None else odds / outputs.shape[1])


def disagreement(log_odds: Tensor, similar: Tensor) -> Tensor:
    """Minus log of the likelihood of the similarity of two pictures: log(1 + exp(odds)) - similar * odds."""
    return F.softplus(log_odds) - similar * log_odds


def relaxed_hamming(codes: Tensor) -> Tensor:
    """(n, n) half of (bits - inner product): the Hamming distance if the codes are -1 and +1."""
    return (codes.shape[1] - codes @ codes.T) / 2


def shortfall(outputs: Tensor) -> Tensor:
    """|output| - 1: the distance of each output from a bit."""
    return outputs.abs() - 1
