"""Our own backbone, small enough to be trained and run on ordinary CPUs.

It uses plain 3x3 convolutions on purpose: depthwise ones have fewer operations but are slower on ordinary CPUs, in
training and in ONNX Runtime.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from hashgrain.errors import TrainingError
from hashgrain.learn.backbones.backbone import Backbone


def convolution(channels_in: int, channels_out: int, *, stride: int = 1, size: int = 3) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, size, stride, padding=size // 2, bias=False),
        nn.BatchNorm2d(channels_out),
    )


class Residual(nn.Module):
    """Two 3x3 convolutions with a shortcut; the second starts at zero, so that a new block is the identity."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = convolution(channels, channels)
        self.second = convolution(channels, channels)
        nn.init.zeros_(self.second[1].weight)  # type: ignore[arg-type]

    def forward(self, pixels: Tensor) -> Tensor:
        return torch.relu(pixels + self.second(torch.relu(self.first(pixels))))


class CompactBackbone(Backbone):
    """Each stage halves the edge: a convolution of stride 2, then residual blocks. Any s from 2^stages up works.

    The last stage ends in a 1x1 convolution to `width` channels. The features are its averaged map; with `depths`,
    those of several stages, numbered from 0, concatenated in that order. `widths` are their widths.
    """

    def __init__(self, channels: Sequence[int], blocks: Sequence[int], width: int, depths: Sequence[int] = ()) -> None:
        if not channels or len(channels) != len(blocks) or min(*channels, width) < 1 or min(blocks) < 0:
            raise TrainingError(
                f"the compact backbone cannot have channels {tuple(channels)}, blocks {tuple(blocks)} and width"
                f" {width}: give channels and blocks for each stage, and a width above 0"
            )
        last = len(channels) - 1
        depths = tuple(depths) or (last,)
        if not all(0 <= depth <= last for depth in depths) or len(set(depths)) != len(depths):
            raise TrainingError(
                f"the compact backbone has no depths {depths}: give each at most once, of stages 0 to {last}"
            )
        widths = tuple(width if depth == last else channels[depth] for depth in depths)
        super().__init__(sum(widths), (0.45, 0.45, 0.45), (0.25, 0.25, 0.25))
        layers: list[nn.Module] = []
        ends: list[int] = []
        before = 3
        for n_channels, n_blocks in zip(channels, blocks, strict=True):
            layers += [convolution(before, n_channels, stride=2), nn.ReLU()]
            layers += [Residual(n_channels) for _ in range(n_blocks)]
            before = n_channels
            ends.append(len(layers))
        layers += [convolution(before, width, size=1), nn.ReLU()]
        ends[-1] = len(layers)
        self.layers = nn.Sequential(*layers)
        self.depths, self.widths = depths, widths
        self._ends = ends  # the number of layers up to the end of each stage

    def places(self, pixels: Tensor) -> Tensor:
        mapped: Tensor = self.layers(self.normalized(pixels))
        return mapped.flatten(2).transpose(1, 2)

    def forward(self, pixels: Tensor) -> Tensor:
        mapped, start = self.normalized(pixels), 0
        pooled: dict[int, Tensor] = {}
        for stage, end in enumerate(self._ends[: max(self.depths) + 1]):
            for i in range(start, end):
                mapped = self.layers[i](mapped)
            start = end
            if stage in self.depths:
                pooled[stage] = mapped.mean(dim=(2, 3))
        return torch.cat([pooled[depth] for depth in self.depths], dim=1)

    def stages(self) -> list[list[str]]:
        return [
            [f"layers.{i}.{name}" for i in range(start, end) for name, _ in self.layers[i].named_parameters()]
            for start, end in itertools.pairwise([0, *self._ends])
        ]
