"""The network: a compact residual backbone of our own and a nested hash head.

At 64 px it costs about 80 million multiply-adds and holds 2.2 million weights. Plain 3x3 convolutions on purpose:
depthwise ones count fewer operations but run slower, in training and in ONNX Runtime, on ordinary CPUs.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hashgrain.codes import Grains


def convolution(channels_in: int, channels_out: int, *, stride: int = 1, size: int = 3) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, size, stride, padding=size // 2, bias=False),
        nn.BatchNorm2d(channels_out),
    )


class Residual(nn.Module):
    """Two 3x3 convolutions around a shortcut; the second starts at zero, so that a new block is the identity."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = convolution(channels, channels)
        self.second = convolution(channels, channels)
        nn.init.zeros_(self.second[1].weight)  # type: ignore[arg-type]

    def forward(self, pixels: Tensor) -> Tensor:
        return torch.relu(pixels + self.second(torch.relu(self.first(pixels))))


class Backbone(nn.Module):
    """Pictures (n, 3, s, s) in 0..1 to features (n, width). Works at any s that is a multiple of 16."""

    def __init__(self, channels: tuple[int, ...] = (24, 48, 128, 256), blocks: tuple[int, ...] = (0, 1, 2, 1)) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before = 3
        for width, n_blocks in zip(channels, blocks, strict=True):
            layers += [convolution(before, width, stride=2), nn.ReLU()]
            layers += [Residual(width) for _ in range(n_blocks)]
            before = width
        self.layers = nn.Sequential(*layers)
        self.width = channels[-1]

    def forward(self, pixels: Tensor) -> Tensor:
        mapped: Tensor = self.layers((pixels - 0.45) / 0.25)
        return mapped.mean(dim=(2, 3))


class HashNetwork(nn.Module):
    """Backbone and nested head. The outputs are normalised per bit, so that each bit is on half of the time."""

    def __init__(self, backbone: Backbone, grains: Grains) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = nn.Linear(backbone.width, grains.bits, bias=False)
        self.normalise = nn.BatchNorm1d(grains.bits, affine=False)

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """(outputs, features): bit j is 1 where outputs[:, j] >= 0."""
        features = self.backbone(pixels)
        return self.normalise(self.head(features)), features
