"""Losses of nested grains: every prefix of the code is a code, and the coarse ones come first.

Three ways to keep the prefixes at peace, each on its own: no prefix pulls harder for being longer, the longer prefix
teaches the shorter one what is near what, and where two pull shared bits apart the shorter one wins.
All work on the outputs (n, bits), which costs next to nothing beside the network.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from hashgrain.errors import TrainingError
from hashgrain.learn.losses.code_distance import distance_distillation
from hashgrain.learn.losses.loss import Loss


def prefix_losses(
    losses: Mapping[str, Loss], outputs: Tensor, truths: Mapping[str, Tensor], widths: Mapping[str, int]
) -> dict[str, Tensor]:
    """The loss of each grain on its own prefix of the outputs, coarse to fine.

    Some losses pull harder the longer the code (inner products), some do not (cosines). So what counts is measured:
    the norm of each loss's gradient over the outputs. A longer prefix that pulls harder than the coarsest one is
    weighed down to it, by no more than the ratio of their lengths, which is as much as length can account for:

    weight = clamp(pull of the coarsest / pull of this one, from bits of the coarsest / bits of this one, to 1)

    Nothing is weighed up, so a loss that is near its goal is left there. Where no gradient is asked for, weights are 1.
    """
    order = _coarse_to_fine(losses, outputs, truths, widths)
    values = {grain: losses[grain](outputs[:, : widths[grain]], truths[grain]) for grain in order}
    pulls = {grain: _gradient(value, outputs).norm() for grain, value in values.items()}
    coarsest = order[0]
    for grain in order[1:]:
        if pulls[grain] > pulls[coarsest]:
            shortest = widths[coarsest] / widths[grain]
            values[grain] = values[grain] * (pulls[coarsest] / pulls[grain]).clamp(min=shortest)
    return values


def long_to_short(outputs: Tensor, widths: Mapping[str, int]) -> Tensor:
    """Each prefix learns from the next longer one which pictures are near which; mean over such steps.

    The long-to-short cascade of the Nested Hash Layer (He et al., 2024), with distances as shares of the bits. The
    longer one gets no gradient: it must not learn the mistakes of the shorter.
    """
    lengths = sorted(widths.values())
    steps = [
        distance_distillation(outputs[:, :short], outputs[:, :long]) for short, long in itertools.pairwise(lengths)
    ]
    return torch.stack(steps).mean() if steps else (outputs * 0).sum()


def nested_gradient(losses: Sequence[Tensor], outputs: Tensor) -> Tensor:
    """(n, bits) the sum of the gradients of losses, coarse to fine, that do not undo each other.

    A longer prefix whose gradient g is against that of a shorter one, s (<g, s> < 0: they differ on the bits both
    have), gives up that part: g - <g, s> / <s, s> s. (PCGrad, Yu et al., 2020, but never the other way round: the
    shorter prefix dominates, for it has fewer bits to say it with; the idea of He et al., 2024.) s is what was left
    of the shorter one's own gradient. The coarsest is asked last, so a step along the result lowers the coarsest
    loss at least as fast as if it were alone.
    """
    kept: list[Tensor] = []
    for loss in losses:
        gradient = _gradient(loss, outputs)
        for shorter in reversed(kept):
            against = (gradient * shorter).sum()
            if against < 0:
                gradient = gradient - against / shorter.square().sum() * shorter
        kept.append(gradient)
    return torch.stack(kept).sum(dim=0) if kept else torch.zeros_like(outputs)


def nested_loss(
    losses: Mapping[str, Loss], outputs: Tensor, truths: Mapping[str, Tensor], widths: Mapping[str, int]
) -> Tensor:
    """The sum of `prefix_losses`, which backward() hands on to the network as `nested_gradient`.

    Weights that a loss has of its own (a classifier, centers) get the plain gradient of that loss.
    """
    apart = outputs.detach().requires_grad_()
    values = list(prefix_losses(losses, apart, truths, widths).values())
    towards = (outputs * nested_gradient(values, apart)).sum()
    return torch.stack(values).sum() + (towards - towards.detach())


def _coarse_to_fine(
    losses: Mapping[str, Loss], outputs: Tensor, truths: Mapping[str, Tensor], widths: Mapping[str, int]
) -> list[str]:
    """The grains by width, or what is wrong with them."""
    if not losses:
        raise TrainingError("no grain has a loss; give at least one of them one")
    for grain, loss in losses.items():
        if grain not in widths:
            raise TrainingError(f"{grain} has a loss but no width; the grains are {', '.join(widths)}")
        if grain not in truths:
            raise TrainingError(f"{grain} has a loss but nothing to learn from; give it labels or take its loss away")
        if loss.bits != widths[grain]:
            raise TrainingError(
                f"the loss of {grain} is for {loss.bits} bits and {grain} has {widths[grain]}; build it for those"
            )
        if widths[grain] > outputs.shape[1]:
            raise TrainingError(
                f"{grain} takes {widths[grain]} bits and the network gives {outputs.shape[1]}; widen its head"
            )
    return sorted(losses, key=lambda grain: widths[grain])


def _gradient(loss: Tensor, outputs: Tensor) -> Tensor:
    """Of the loss over the outputs, the graph kept for more; zeros where the loss does not hang on them."""
    if not (loss.requires_grad and outputs.requires_grad):
        return torch.zeros_like(outputs)
    (gradient,) = torch.autograd.grad(loss, outputs, retain_graph=True, allow_unused=True)
    return torch.zeros_like(outputs) if gradient is None else gradient
