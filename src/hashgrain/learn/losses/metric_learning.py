"""The one door to pytorch-metric-learning: its losses, told by row numbers which pictures are alike.

Its losses and miners assume one label a picture. Ours may have several, or none, so we name pairs and triplets
ourselves, and `judge` never shows it a label.
"""

from __future__ import annotations

from types import ModuleType

import torch
from torch import Tensor, nn

from hashgrain.errors import TrainingError
from hashgrain.learn.losses.relaxed import pairs

Rows = tuple[Tensor, ...]
"""(anchors, positives, negatives), or pairs: (anchors, positives, anchors, negatives)."""


def library() -> tuple[ModuleType, ModuleType]:
    """Its losses and distances, imported when asked for: that takes half a second, and most losses do without."""
    try:
        from pytorch_metric_learning import distances, losses
    except ImportError as error:
        raise TrainingError(
            "the contrastive, triplet and n_pair losses need pytorch-metric-learning, which is missing here; "
            "install it: pip install 'hashgrain[train]'"
        ) from error
    return losses, distances


def contrastive(margin: float) -> nn.Module:
    """max(0, d) of alike pairs and max(0, margin - d) of others, d = squared distance; means of what is above 0."""
    losses, distances = library()
    squared = distances.LpDistance(normalize_embeddings=False, p=2, power=2)
    loss: nn.Module = losses.ContrastiveLoss(pos_margin=0, neg_margin=margin, distance=squared)
    return loss


def triplet(margin: float) -> nn.Module:
    """max(0, margin + d(anchor, positive) - d(anchor, negative)), d = squared distance; mean of what is above 0."""
    losses, distances = library()
    squared = distances.LpDistance(normalize_embeddings=False, p=2, power=2)
    loss: nn.Module = losses.TripletMarginLoss(margin=margin, distance=squared)
    return loss


def n_pair() -> nn.Module:
    """Cross-entropy of each anchor's inner products with the positives of all anchors; its own is the right one."""
    losses, distances = library()
    loss: nn.Module = losses.NPairsLoss(distance=distances.DotProductSimilarity(normalize_embeddings=False))
    return loss


def pair_rows(alike: Tensor) -> Rows:
    """The alike pairs of a batch and the others, each both ways round."""
    anchor, positive = (alike & pairs(alike)).nonzero(as_tuple=True)
    other, negative = (~alike & pairs(alike)).nonzero(as_tuple=True)
    return anchor, positive, other, negative


def judge(loss: nn.Module, codes: Tensor, rows: Rows) -> Tensor:
    """The loss of these pairs or triplets. Each picture gets a label of its own: what is alike stands in `rows`."""
    value: Tensor = loss(codes, torch.arange(len(codes), device=codes.device), rows)
    return value
