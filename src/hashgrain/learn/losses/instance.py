"""Two views of one picture belong together, views of two pictures do not."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class InstanceContrast(nn.Module):
    """NT-Xent over the two views of each picture (Chen et al., 2020), on the bits that `look` adds.

    - log exp(cos(a_i, b_i) / t) / sum over every other view; t = temperature. Rows i and i + n are the
    two views of picture i.
    """

    def __init__(self, temperature: float) -> None:
        super().__init__()
        self.temperature = temperature

    def forward(self, outputs: Tensor) -> Tensor:
        directions = F.normalize(outputs, dim=1)
        similarity = directions @ directions.T / self.temperature
        itself = torch.eye(len(outputs), dtype=torch.bool, device=outputs.device)
        partner = torch.arange(len(outputs), device=outputs.device).roll(len(outputs) // 2)
        return F.cross_entropy(similarity.masked_fill(itself, -torch.inf), partner)
