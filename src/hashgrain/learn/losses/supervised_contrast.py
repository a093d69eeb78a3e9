"""Pictures of one label belong together, whatever else they are."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class SupervisedContrast(nn.Module):
    """Every other picture of the label is a positive (Khosla et al., 2020).

    - mean over i, mean over p with the label of i, of log exp(cos(i, p) / t) / sum_j exp(cos(i, j) / t), j not i.
    What it rewards is what retrieval counts: same labels among the nearest codes of the batch.
    """

    def __init__(self, temperature: float) -> None:
        super().__init__()
        self.temperature = temperature

    def forward(self, outputs: Tensor, labels: Tensor) -> Tensor:
        directions = F.normalize(outputs, dim=1)
        itself = torch.eye(len(outputs), dtype=torch.bool, device=outputs.device)
        similarity = (directions @ directions.T / self.temperature).masked_fill(itself, -torch.inf)
        likelihood = F.log_softmax(similarity, dim=1).masked_fill(itself, 0)
        positive = (labels[:, None] == labels[None, :]) & ~itself
        mean = (likelihood * positive).sum(dim=1) / positive.sum(dim=1).clamp(min=1)
        return -mean.mean()
