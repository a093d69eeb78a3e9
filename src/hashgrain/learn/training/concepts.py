"""Concepts: parts of a picture that a network learns to look for, each of which gives its share of the bits."""

from __future__ import annotations

import torch
from torch import Tensor, nn

KEYS = 128  # values that a place and a concept are compared by


class Concepts(nn.Module):
    """The places of a feature map to the features of each concept, as ConceptHash (Ng et al., 2024) has them.

    Concept m has a learned question q_m. It looks at place p with the weight softmax_p(q_m . K x_p / sqrt(keys)), and
    its feature is the sum of the x_p by these weights. (In the paper the questions are tokens of a transformer. Here
    one layer asks the finished map, so that convolutional networks have concepts too.)
    """

    def __init__(self, width: int, count: int) -> None:
        super().__init__()
        self.width, self.count = width, count
        self.keys = nn.Linear(width, KEYS, bias=False)
        self.norm = nn.LayerNorm(KEYS, elementwise_affine=False)
        self.questions = nn.Parameter(torch.randn(count, KEYS))

    def looks(self, places: Tensor) -> Tensor:
        """(n, concepts, places): how much each concept looks at each place; a row sums to 1."""
        keys = self.norm(self.keys(places))
        looks: Tensor = (self.questions @ keys.transpose(1, 2) / KEYS**0.5).softmax(dim=2)
        return looks

    def forward(self, places: Tensor) -> Tensor:
        """(n, places, width) to (n, concepts * width)."""
        return (self.looks(places) @ places).flatten(1)


class ConceptHead(nn.Module):
    """The features of concepts to outputs: concept m gives bits m * share to (m + 1) * share, by one linear layer.

    Outputs are normalized per bit, as by HashHead. (In the paper one layer serves all concepts, with a vector added for
    each. Behind the normalization that vector is gone, and concepts that look alike would give the same bits.)
    """

    def __init__(self, width: int, count: int, bits: int, *, normalize: bool = True) -> None:
        super().__init__()
        self.width = width
        self.bits = nn.ModuleList(nn.Linear(width, bits // count, bias=not normalize) for _ in range(count))
        self.normalize = nn.BatchNorm1d(bits, affine=False) if normalize else nn.Identity()

    def forward(self, features: Tensor) -> Tensor:
        each = torch.split(features, self.width, dim=1)
        outputs: Tensor = self.normalize(torch.cat([own(x) for own, x in zip(self.bits, each, strict=True)], dim=1))
        return outputs
