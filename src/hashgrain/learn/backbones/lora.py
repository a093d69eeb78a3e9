"""Low-rank adapters (LoRA; Hu et al., 2021): few weights adapt a frozen network, and export merges them.

They are parametrizations of weights, not additional layers. Much code reads a layer's weight without calling the layer
(torch's own attention, several networks of timm), so an additional layer would be bypassed and learn nothing.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from hashgrain.errors import TrainingError


class LowRank(nn.Module):
    """W + (alpha / rank) up down, where W (out, ...) is flattened to a matrix (out, rest).

    `up` starts at zero, so that the network is unchanged at first; `down` starts as in the reference implementation.
    """

    def __init__(self, weight: Tensor, rank: int, alpha: float) -> None:
        super().__init__()
        rows, columns = weight.shape[0], weight[0].numel()
        self.scale = alpha / rank
        self.down = nn.Parameter(weight.new_empty(rank, columns))
        self.up = nn.Parameter(weight.new_zeros(rows, rank))
        nn.init.kaiming_uniform_(self.down, a=5**0.5)

    def forward(self, weight: Tensor) -> Tensor:
        return weight + self.scale * (self.up @ self.down).view_as(weight)


def add_lora(network: nn.Module, rank: int = 8, alpha: float = 16.0) -> list[str]:
    """Adapt every dense layer, convolution and attention; freeze the rest. Returns the names of the trained weights.

    A weight gets no adapter if the adapter would not be smaller than the weight, as in depthwise convolutions.
    """
    if rank < 1:
        raise TrainingError(f"adapters cannot have rank {rank}: give 1 or more")
    if any(isinstance(module, LowRank) for module in network.modules()):
        raise TrainingError("this network has adapters already: merge them (merge_lora) before adding others")
    network.requires_grad_(False)
    adapted = 0
    for module, name in list(_weights(network)):
        weight = getattr(module, name)
        if rank * (weight.shape[0] + weight[0].numel()) < weight.numel():
            parametrize.register_parametrization(module, name, LowRank(weight, rank, alpha))
            adapted += 1
    if not adapted:
        raise TrainingError(f"no layer of this network is large enough for adapters of rank {rank}: give a smaller one")
    return [name for name, parameter in network.named_parameters() if parameter.requires_grad]


def merge_lora(network: nn.Module) -> None:
    """Merge the adapters into the weights: the same function, without adapters. The weights stay frozen."""
    with torch.no_grad():
        for module in list(network.modules()):
            if not isinstance(getattr(module, "parametrizations", None), nn.ModuleDict):
                continue
            for name, steps in list(module.parametrizations.items()):  # type: ignore[union-attr, operator]
                if any(isinstance(step, LowRank) for step in steps):
                    parametrize.remove_parametrizations(module, name, leave_parametrized=True)
                    getattr(module, name).requires_grad_(False)


def _weights(network: nn.Module) -> Iterator[tuple[nn.Module, str]]:
    for module in network.modules():
        if isinstance(module, (nn.Linear, nn.Conv2d)):
            yield module, "weight"
        elif isinstance(module, nn.MultiheadAttention) and module.in_proj_weight is not None:
            yield module, "in_proj_weight"
