"""Losses of pytorch-metric-learning, evaluated on pairs and triplets that are given by row numbers.

Its losses and miners assume one label per picture. Pictures here may have several labels, or none, so the pairs and
triplets are chosen here, and `evaluate_loss` passes no labels to the library.
"""

from __future__ import annotations

from types import ModuleType

import torch
from torch import Tensor, nn

from hashgrain.errors import TrainingError
from hashgrain.learn.losses.relaxed import pairs

IndicesTuple = tuple[Tensor, ...]
"""Row numbers: (anchors, positives, negatives), or pairs (anchors, positives, anchors, negatives)."""


def library() -> tuple[ModuleType, ModuleType]:
    """Import its losses and distances. The import takes half a second, and most losses do not need it."""
    try:
        from pytorch_metric_learning import distances, losses
    except ImportError as error:
        raise TrainingError(
            "the contrastive, triplet and n_pair losses need pytorch-metric-learning, which is missing here; "
            "install it: pip install 'hashgrain[train]'"
        ) from error
    return losses, distances


def contrastive(margin: float) -> nn.Module:
    """max(0, d) for similar pairs, max(0, margin - d) for others, d = squared distance; means of values above 0."""
    losses, distances = library()
    squared = distances.LpDistance(normalize_embeddings=False, p=2, power=2)
    loss: nn.Module = losses.ContrastiveLoss(pos_margin=0, neg_margin=margin, distance=squared)
    return loss


def triplet(margin: float) -> nn.Module:
    """max(0, margin + d(anchor, positive) - d(anchor, negative)), d = squared distance; mean of the values above 0."""
    losses, distances = library()
    squared = distances.LpDistance(normalize_embeddings=False, p=2, power=2)
    loss: nn.Module = losses.TripletMarginLoss(margin=margin, distance=squared)
    return loss


def n_pair() -> nn.Module:
    """Cross-entropy of each anchor's inner products with all positives; its own positive is the right class."""
    losses, distances = library()
    loss: nn.Module = losses.NPairsLoss(distance=distances.DotProductSimilarity(normalize_embeddings=False))
    return loss


def pair_rows(similar: Tensor) -> IndicesTuple:
    """The similar pairs of a batch and the other pairs, each in both orders."""
    anchor, positive = (similar & pairs(similar)).nonzero(as_tuple=True)
    other, negative = (~similar & pairs(similar)).nonzero(as_tuple=True)
    return anchor, positive, other, negative


def evaluate_loss(loss: nn.Module, codes: Tensor, indices: IndicesTuple) -> Tensor:
    """The loss of these pairs or triplets. Each picture gets its own label: `indices` alone states the similarity."""
    value: Tensor = loss(codes, torch.arange(len(codes), device=codes.device), indices)
    return value
