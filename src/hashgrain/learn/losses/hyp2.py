"""HyP^2: learnt class proxies, and the pairs that proxies cannot separate."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hashgrain.learn.losses.loss import Loss
from hashgrain.learn.losses.ortho_hash import SHORTEST
from hashgrain.learn.losses.relaxed import mean_over, same
from hashgrain.learn.training.centers import class_centers


class Hyp2Loss(Loss):
    """Hybrid proxy-pair loss (HyP^2: Xu et al., ACM Multimedia 2022).

    mean over pictures and their labels of 1 - cos(u, proxy)
    + mean over pictures and other classes of max(0, cos(u, proxy) - threshold)
    + pairs * mean over pairs of pictures with several labels each and none in common of
      max(0, cos(u_i, u_j) - threshold).
    Proxies are trained with the network. The threshold is the cosine of the two nearest words of a code with a
    word for each class: 1 - 2 d / bits. The authors look d up in a table of the best known codes; here it is that of
    the centers. Pictures with one label have no pair term, as in the authors' code: their proxy is enough.
    """

    def __init__(
        self, bits: int, classes: int, *, threshold: float | None = None, pairs: float = 0.5, seed: int = 0
    ) -> None:
        super().__init__(bits, classes)
        if threshold is None:
            threshold = 1 - 2 * class_centers(classes, bits, seed).minimum_distance / bits if classes > 1 else 0.0
        self.threshold, self.pairs = threshold, pairs
        self.proxies = nn.Parameter(torch.randn(classes, bits, generator=torch.Generator().manual_seed(seed)))

    def forward(self, outputs: Tensor, truth: Tensor) -> Tensor:
        directions = F.normalize(outputs, dim=1, eps=SHORTEST)
        cosines = directions @ F.normalize(self.proxies, dim=1).to(outputs.dtype).T
        labels, known = truth > 0, truth.any(dim=1, keepdim=True)
        near = mean_over(1 - cosines, labels)
        far = mean_over((cosines - self.threshold).clamp(min=0), ~labels & known)
        several = labels.sum(dim=1) > 1
        irrelevant = several[:, None] & several[None, :] & ~same(truth)
        apart = mean_over((directions @ directions.T - self.threshold).clamp(min=0), irrelevant)
        return near + far + self.pairs * apart
