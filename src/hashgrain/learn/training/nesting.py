"""Losses of nested grains: every prefix of the code is a code, and the coarse ones come first.

Three independent ways to reconcile the prefixes: longer prefixes get no larger gradient for their length; the longer
prefix teaches its distances to the shorter one; where gradients conflict on shared bits, the shorter prefix wins.
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

    The gradients of some losses grow with the code's length (inner products), those of others do not (cosines). So the
    norm of each loss's gradient over the outputs is measured. A longer prefix with a larger norm than the coarsest one
    is scaled down to it, by no more than the ratio of their lengths, which is as much as length can explain:

    weight = clamp(norm of the coarsest / norm of this one, from bits of the coarsest / bits of this one, to 1)

    No loss is scaled up, so a loss near its minimum stays there. Without gradients, weights are 1.
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
    """Distill the distances of each prefix into the next shorter one; the mean over these pairs.

    The long-to-short cascade of the Nested Hash Layer (He et al., 2024), with distances as shares of the bits. The
    longer prefix gets no gradient: it must not learn the mistakes of the shorter one.
    """
    lengths = sorted(widths.values())
    steps = [
        distance_distillation(outputs[:, :short], outputs[:, :long]) for short, long in itertools.pairwise(lengths)
    ]
    return torch.stack(steps).mean() if steps else (outputs * 0).sum()


def nested_gradient(losses: Sequence[Tensor], outputs: Tensor) -> Tensor:
    """(n, bits) the sum of the gradients of losses, coarse to fine, with conflicts projected out.

    If the gradient g of a longer prefix conflicts with that of a shorter one, s (<g, s> < 0), the conflicting part is
    projected out: g - <g, s> / <s, s> s. (PCGrad, Yu et al., 2020, in this direction only: the shorter prefix
    dominates, since it has fewer bits; the idea of He et al., 2024.) s is the shorter prefix's own projected gradient.
    The coarsest is projected last, so a step along the sum lowers the coarsest loss at least as fast as alone.
    """
    gradients: list[Tensor] = []
    for loss in losses:
        gradient = _gradient(loss, outputs)
        for shorter in reversed(gradients):
            against = (gradient * shorter).sum()
            if against < 0:
                gradient = gradient - against / shorter.square().sum() * shorter
        gradients.append(gradient)
    return torch.stack(gradients).sum(dim=0) if gradients else torch.zeros_like(outputs)


def nested_loss(
    losses: Mapping[str, Loss], outputs: Tensor, truths: Mapping[str, Tensor], widths: Mapping[str, int]
) -> Tensor:
    """The sum of `prefix_losses`, whose backward() passes `nested_gradient` to the network.

    A loss's own weights (a classifier, centers) get the plain gradient of that loss.
    """
    apart = outputs.detach().requires_grad_()
    values = list(prefix_losses(losses, apart, truths, widths).values())
    towards = (outputs * nested_gradient(values, apart)).sum()
    return torch.stack(values).sum() + (towards - towards.detach())


def _coarse_to_fine(
    losses: Mapping[str, Loss], outputs: Tensor, truths: Mapping[str, Tensor], widths: Mapping[str, int]
) -> list[str]:
    """The grains by width; an error if they do not fit."""
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
    """The gradient of the loss over the outputs; zeros where it does not depend on them. Keeps the graph."""
    if not (loss.requires_grad and outputs.requires_grad):
        return torch.zeros_like(outputs)
    (gradient,) = torch.autograd.grad(loss, outputs, retain_graph=True, allow_unused=True)
    return torch.zeros_like(outputs) if gradient is None else gradient
