"""Cross-entropy for pictures with several labels, or none."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from hashgrain.learn.losses.relaxed import mean_over


def margin_cross_entropy(cosines: Tensor, hot: Tensor, scale: float, margin: float, smoothing: float = 0.0) -> Tensor:
    """The cross-entropy over scale * (cosine - margin * [the class is a label]): a label must win by the margin."""
    return label_cross_entropy(scale * (cosines - margin * hot), hot, smoothing)


def label_cross_entropy(scores: Tensor, hot: Tensor, smoothing: float = 0.0) -> Tensor:
    """- sum_c share_c log softmax_c(scores), share_c = 1 / number of labels for each label of the picture.

    The mean is over labelled pictures. `smoothing` is the part of 1 that is spread over all classes.
    """
    labels = hot.sum(dim=1, keepdim=True)
    shares = hot.to(scores.dtype) / labels.clamp(min=1)
    shares = (1 - smoothing) * shares + smoothing / hot.shape[1]
    return mean_over(F.cross_entropy(scores, shares, reduction="none"), labels[:, 0] > 0)
