"""Contrast of views: two views of the same picture are positives, all others negatives."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hashgrain.learn.losses.relaxed import pairs


def two_views(outputs: Tensor) -> tuple[Tensor, Tensor]:
    """The first and the second views of a stack of both; an odd last row is dropped."""
    half = len(outputs) // 2
    return outputs[:half], outputs[half : 2 * half]


class InstanceContrast(nn.Module):
    """NT-Xent over the two views of each picture (Chen et al., 2020).

    - log exp(cos(a_i, b_i) / t) / sum over every other view; t = temperature. Rows i and i + n / 2 are the
    two views of picture i.
    """

    def __init__(self, temperature: float) -> None:
        super().__init__()
        self.temperature = temperature

    def forward(self, outputs: Tensor) -> Tensor:
        directions = F.normalize(torch.cat(two_views(outputs)), dim=1)
        views = len(directions)
        similarity = directions @ directions.T / self.temperature
        others = pairs(directions)
        likelihood = F.log_softmax(similarity.masked_fill(~others, -torch.inf), dim=1)
        partner = torch.arange(views, device=outputs.device).roll(views // 2)
        return -likelihood.gather(1, partner[:, None]).sum() / max(1, views)
