"""The network: a backbone, and the head that turns its features into bits."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from hashgrain.hashers import Projection
from hashgrain.learn.backbones import Backbone
from hashgrain.learn.training.concepts import ConceptHead, Concepts


class HashHead(nn.Module):
    """Features to outputs: dense layers, if any, then one linear layer; bit j is 1 where outputs[:, j] >= 0.

    With `normalize` the outputs are normalized per bit, so that each bit is on half of the time. The normalization has
    no weights and is the same for a bit in every prefix: prefixes need none of their own.
    `mean` and `spread` are those of the training pictures' features, if these are known before training.
    """

    def __init__(
        self, width: int, bits: int, hidden: Sequence[int] = (), *, normalize: bool = True, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("spread", torch.ones(width))
        layers: list[nn.Module] = [nn.Dropout(dropout)] if dropout else []
        for size in hidden:
            layers += [nn.Linear(width, size), nn.ReLU()]
            width = size
        self.hidden = nn.Sequential(*layers)
        self.bits = nn.Linear(width, bits, bias=not normalize)
        self.normalize = nn.BatchNorm1d(bits, affine=False) if normalize else nn.Identity()
        self.mean: Tensor
        self.spread: Tensor

    def standardize(self, features: Tensor) -> None:
        """Standardize the features of the training pictures to mean 0 and spread 1."""
        spread, mean = torch.std_mean(features, dim=0)
        self.mean.copy_(mean)
        self.spread.copy_(spread + 1e-3 * spread.mean() + 1e-6)

    @classmethod
    @torch.no_grad()
    def joined(cls, heads: Sequence[HashHead]) -> HashHead:
        """One head with the bits of all, in order. They must have no dense layers and the same features."""
        first = heads[0]
        joined = cls(len(first.mean), sum(head.bits.out_features for head in heads))
        joined.mean.copy_(first.mean)
        joined.spread.copy_(first.spread)
        joined.bits.weight.copy_(torch.cat([head.bits.weight for head in heads]))
        for name in ("running_mean", "running_var"):
            getattr(joined.normalize, name).copy_(torch.cat([getattr(head.normalize, name) for head in heads]))
        return joined.eval()

    @torch.no_grad()
    def settle(self, features: Tensor) -> None:
        """Compute each bit's threshold and scale over all training pictures, not over the last batches."""
        if isinstance(self.normalize, nn.BatchNorm1d):
            self.eval()
            raw = self.bits(self.hidden((features - self.mean) / self.spread))
            variance, mean = torch.var_mean(raw, dim=0)
            assert self.normalize.running_mean is not None
            assert self.normalize.running_var is not None
            self.normalize.running_mean.copy_(mean)
            self.normalize.running_var.copy_(variance)

    @torch.no_grad()
    def projections(self) -> list[Projection]:
        """The layers as affine maps with a ReLU between two of them, the normalization folded into the last one's
        weights: for graphs that are not exported from torch."""
        dense = [layer for layer in self.hidden if isinstance(layer, nn.Linear)]
        mean, spread, maps = self.mean.double(), self.spread.double(), []
        for layer in [*dense, self.bits]:
            directions = (layer.weight.double() / spread).T
            scale = torch.ones(directions.shape[1], dtype=torch.double)
            offset = torch.zeros_like(scale) if layer.bias is None else layer.bias.double()
            if layer is self.bits and isinstance(self.normalize, nn.BatchNorm1d):
                assert self.normalize.running_mean is not None
                assert self.normalize.running_var is not None
                scale = (self.normalize.running_var.double() + self.normalize.eps).rsqrt()
                offset = offset - self.normalize.running_mean.double()
            maps.append(Projection(mean.float().numpy(), (directions * scale).numpy(), (offset * scale).numpy()))
            mean, spread = torch.zeros(directions.shape[1]), torch.ones(directions.shape[1], dtype=torch.double)
        return maps

    def forward(self, features: Tensor) -> Tensor:
        outputs: Tensor = self.normalize(self.bits(self.hidden((features - self.mean) / self.spread)))
        return outputs


class LayeredHead(nn.Module):
    """A head whose grains come from different depths: one stage of the backbone gives each grain's own bits, the
    deepest stage those of the coarsest grain. The grains are still prefixes of one code."""

    def __init__(self, depths: Sequence[int], own_bits: Sequence[int], *, normalize: bool = True) -> None:
        super().__init__()
        self.depths = tuple(depths)
        pairs = zip(reversed(self.depths), own_bits, strict=True)
        self.heads = nn.ModuleList(HashHead(depth, bits, normalize=normalize) for depth, bits in pairs)

    def forward(self, features: Tensor) -> Tensor:
        parts = reversed(torch.split(features, list(self.depths), dim=1))
        return torch.cat([head(part) for head, part in zip(self.heads, parts, strict=True)], dim=1)


class HashNetwork(nn.Module):
    """With `concepts`, the features are those of the concepts, found on the backbone's feature map."""

    def __init__(
        self, backbone: Backbone, head: HashHead | LayeredHead | ConceptHead, concepts: Concepts | None = None
    ) -> None:
        super().__init__()
        self.backbone, self.head, self.concepts = backbone, head, concepts

    @property
    def width(self) -> int:
        """Of the features."""
        return self.concepts.width * self.concepts.count if self.concepts else self.backbone.width

    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """(outputs, features) of pictures (n, 3, s, s) in 0..1, or of another input of the backbone."""
        features = self.concepts(self.backbone.places(inputs)) if self.concepts else self.backbone(inputs)
        return self.head(features), features
