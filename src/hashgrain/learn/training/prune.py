"""Structured pruning of inner channels of residual blocks, or of whole blocks: a smaller network, not a mask.

Only the second convolution of a block reads the channels of the first one (after a ReLU), so a channel can be removed
alone: the result is what the full network computes with that channel at zero. A whole block can be removed because
its input is never negative: relu(x + 0) = x. Prune a trained network, then fine-tune it for a few epochs.

To rebuild a pruned network from its weights: build the full network, `prune` it by the recorded `Selection`, load.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils import parametrize

from hashgrain.errors import TrainingError
from hashgrain.learn.backbones.compact import Residual, convolution
from hashgrain.learn.training.network import HashNetwork

BATCH = 64
ROUND = 8  # the number of channels is a multiple of what vector registers hold


@dataclass(frozen=True)
class Importance:
    """The importance of each inner channel and of each block, by the blocks' names in the network."""

    channels: Mapping[str, NDArray[np.float64]]
    blocks: Mapping[str, float]


@dataclass(frozen=True)
class Selection:
    """The inner channels that every block keeps, ascending; a block that keeps none is removed. JSON takes `channels`
    as it is."""

    channels: Mapping[str, Sequence[int]]


def by_taylor(network: HashNetwork, pixels: NDArray[np.uint8], *, seed: int = 0) -> Importance:
    """The squared change of the outputs when the channel is zero, to first order. It needs no labels.

    For activation a and outputs u: mean over pictures of sum over outputs j of (sum over places of a du_j/da)^2, the
    first-order term of Molchanov et al. (2019) with the outputs themselves in place of a loss. The sum over outputs is
    had from one backward pass, as the mean over random r ~ N(0, 1) of (sum over places of a d<r, u>/da)^2.
    """
    if not len(pixels):
        raise TrainingError("importance by Taylor is measured on pictures, and there are none: give some hundred")
    generator = torch.Generator().manual_seed(seed)
    whole = copy.deepcopy(network).eval().cpu()
    # In eval mode the pictures of a batch do not influence each other.
    sums: dict[str, Tensor] = {}
    branches: dict[str, float] = {}
    for start in range(0, len(pixels), BATCH):
        batch = torch.from_numpy(pixels[start : start + BATCH]).permute(0, 3, 1, 2).float() / 255
        inner, branch, outputs = _forward_seen(whole, batch)
        probe = torch.randn(outputs.shape, generator=generator)
        seen = [*inner.values(), *branch.values()]
        slopes = torch.autograd.grad((probe * outputs).sum(), seen)
        moved = [(values * slope).detach() for values, slope in zip(seen, slopes, strict=True)]
        for name, move in zip(inner, moved[: len(inner)], strict=True):
            sums[name] = sums.get(name, torch.zeros(())) + move.sum(dim=(2, 3)).square().sum(dim=0)
        for name, move in zip(branch, moved[len(inner) :], strict=True):
            branches[name] = branches.get(name, 0.0) + float(move.sum(dim=(1, 2, 3)).square().sum())
    return Importance(
        {name: _numpy(total) / len(pixels) for name, total in sums.items()},
        {name: total / len(pixels) for name, total in branches.items()},
    )


def choose(importance: Importance, share: float, *, drop_blocks: int = 0) -> Selection:
    """Drop the least important blocks, and keep that share of every other block's channels, the most important.

    The share is the same everywhere: importances in different layers cannot be compared. It is rounded up to
    a multiple of 8 channels, where there are so many.
    """
    if not 0 < share <= 1:
        raise TrainingError(f"a share of {share} of the channels cannot be kept: give more than 0 and at most 1")
    if not 0 <= drop_blocks <= len(importance.blocks):
        raise TrainingError(f"there are {len(importance.blocks)} residual blocks; {drop_blocks} cannot be dropped")
    dropped = sorted(importance.blocks, key=lambda name: importance.blocks[name])[:drop_blocks]
    channels: dict[str, Sequence[int]] = {}
    for name, scores in importance.channels.items():
        count = min(len(scores), -(-round(share * len(scores)) // ROUND) * ROUND)
        best = np.argsort(-scores, kind="stable")[: max(1, count)]
        channels[name] = () if name in dropped else tuple(sorted(best.tolist()))
    return Selection(channels)


def prune(network: HashNetwork, selection: Selection) -> HashNetwork:
    """A pruned copy of the network. Fine-tune it before use."""
    small = copy.deepcopy(network)
    blocks = dict(_blocks(small))
    if set(blocks) != set(selection.channels):
        raise TrainingError(
            f"what is kept names the blocks {', '.join(sorted(selection.channels))}; this network has"
            f" {', '.join(sorted(blocks))}. Use it with the network it was chosen for"
        )
    for name, block in blocks.items():
        channels, inner = list(selection.channels[name]), _inner(block)
        if channels != sorted(set(channels)) or not set(channels) <= set(range(inner)):
            raise TrainingError(f"block {name} has {inner} inner channels, it cannot keep {channels}; choose anew")
        if channels:
            _narrow(block, channels)
        else:
            small.set_submodule(name, nn.Identity())  # its input is never negative
    return small


def _blocks(network: nn.Module) -> Iterator[tuple[str, Residual]]:
    blocks = [(name, module) for name, module in network.named_modules() if isinstance(module, Residual)]
    if not blocks:
        raise TrainingError("this network has no residual blocks of our own to prune; only the compact backbone has")
    if any(parametrize.is_parametrized(module) for _, block in blocks for module in block.modules()):
        raise TrainingError("this network has adapters of low rank; merge them (merge_lora) before pruning")
    yield from blocks


def _forward_seen(network: HashNetwork, pixels: Tensor) -> tuple[dict[str, Tensor], dict[str, Tensor], Tensor]:
    """The input and the output of each block's second convolution, and the network's outputs."""
    inner: dict[str, Tensor] = {}
    branch: dict[str, Tensor] = {}

    def see(name: str, block: Residual) -> torch.utils.hooks.RemovableHandle:
        def keep(_: nn.Module, given: tuple[Tensor], result: Tensor) -> None:
            inner[name], branch[name] = given[0], result

        return block.second.register_forward_hook(keep)

    hooks = [see(name, block) for name, block in _blocks(network)]
    with torch.enable_grad():
        outputs, _ = network(pixels.requires_grad_())  # gives gradients even if all weights are frozen
    for hook in hooks:
        hook.remove()
    return inner, branch, outputs


def _inner(block: Residual) -> int:
    return len(block.first.state_dict()["1.weight"])


def _narrow(block: Residual, channels: list[int]) -> None:
    first, second = block.first.state_dict(), block.second.state_dict()
    outer = len(second["1.weight"])
    block.first = convolution(outer, len(channels)).to(second["1.weight"].device).train(block.training)
    block.first.load_state_dict({name: values[channels] if values.ndim else values for name, values in first.items()})
    block.second = convolution(len(channels), outer).to(second["1.weight"].device).train(block.training)
    block.second.load_state_dict(
        {name: values[:, channels] if values.ndim == 4 else values for name, values in second.items()}
    )


def _numpy(values: Tensor) -> NDArray[np.float64]:
    return values.detach().cpu().double().numpy()
