"""A hash head distilled from a frozen network, without labels: its bits rank pictures as the network's features do.

One linear layer gives nested codes. For every grain, the pictures of a batch are ranked by a teacher's cosine, and the
head learns to rank them so by the bits of that grain's prefix: the divergence of the two softmax distributions over
neighbors (relational distillation; Hinton and Roweis, 2002, for the distributions). Two views of one picture are drawn
together over all bits but the coarsest grain's, as in contrastive learning, so that edited copies keep their code.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from hashgrain.hashers import Features


@dataclass(frozen=True)
class Settings:
    """The hyperparameters of a distillation; the values were chosen on validation pictures."""

    steps: int = 1600
    batch: int = 384
    rate: float = 6e-3
    teacher_temperatures: tuple[float, ...] = (0.1, 0.1, 0.1)  # for each grain, from coarse to fine
    code_temperatures: tuple[float, ...] = (0.2, 0.15, 0.15)
    view_weight: float = 3.0
    view_temperature: float = 0.1
    balance: float = 0.05 / 8
    quantization: float = 0.02
    decorrelation: float = 0.02
    spread: float = 0.5  # standard deviation of the first weights
    steepest: float = 4.0  # of tanh, at the end


@dataclass(frozen=True)
class Material:
    """Training data: the head's inputs, the teacher's vectors of each grain, and pairs of views of other pictures."""

    inputs: Features
    teachers: Sequence[Features]  # unit vectors, for each grain from coarse to fine
    left: Features
    right: Features
    start: Features | None = None  # outputs to which the head's are added; the head then starts at zero, without views


def distill(
    material: Material,
    bits: Sequence[int],
    seed: int,
    settings: Settings | None = None,
    first: NDArray[np.float32] | None = None,
) -> torch.nn.Linear:
    """The head. Bit j of the finest grain is 1 where output j is >= 0. It starts from the weights `first`
    (bits, inputs), or from random ones."""
    s = settings or Settings()
    torch.manual_seed(seed)
    draw = torch.Generator().manual_seed(seed)
    inputs, left, right = (torch.from_numpy(each) for each in (material.inputs, material.left, material.right))
    teachers = [torch.from_numpy(each) for each in material.teachers]
    head, start = _beginning(material, bits[-1], s, first)
    optimizer = torch.optim.AdamW(head.parameters(), s.rate, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, s.rate, total_steps=s.steps)
    grains = list(zip(bits, teachers, s.teacher_temperatures, s.code_temperatures, strict=True))
    batch, pairs = min(s.batch, len(inputs)), min(s.batch, len(left))
    for step in range(s.steps):
        steepness = 1 + (s.steepest - 1) * step / s.steps
        chosen = torch.randint(len(inputs), (batch,), generator=draw)
        soft = torch.tanh(steepness * (start[chosen] + head(inputs[chosen])))
        codes, loss = _half_hard(soft), _regularized(soft, s)
        for width, teacher, *temperatures in grains:
            loss = loss + ranking_divergence(codes[:, :width], teacher[chosen], *temperatures)
        if len(left):
            chosen = torch.randint(len(left), (pairs,), generator=draw)
            finer = slice(bits[0] if len(bits) > 1 else 0, None)  # the coarsest grain is not for telling pictures apart
            views = [torch.tanh(steepness * head(side[chosen]))[:, finer] for side in (left, right)]
            loss = loss + s.view_weight * _contrast(views[0], views[1], s.view_temperature)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
    return head


def _beginning(
    material: Material, bits: int, s: Settings, first: NDArray[np.float32] | None
) -> tuple[torch.nn.Linear, Tensor]:
    """The initial head, and the outputs to which it adds."""
    head = torch.nn.Linear(material.inputs.shape[1], bits)
    torch.nn.init.normal_(head.weight, 0, s.spread)
    if first is not None:
        head.weight.data = torch.from_numpy(first)
    if material.start is None:
        return head, torch.zeros(len(material.inputs), bits)
    torch.nn.init.zeros_(head.weight)
    torch.nn.init.zeros_(head.bias)
    return head, torch.from_numpy(material.start)


def ranking_divergence(codes: Tensor, teacher: Tensor, teacher_temperature: float, temperature: float) -> Tensor:
    """Cross entropy of the code's distribution over neighbors against the teacher's; no picture is its own neighbor."""
    itself = torch.eye(len(codes)) * 1e4
    target = F.softmax(teacher @ teacher.T / teacher_temperature - itself, dim=1)
    log_shares = F.log_softmax(codes @ codes.T / codes.shape[1] / temperature - itself, dim=1)
    return -(target * log_shares).sum(dim=1).mean()


def _half_hard(soft: Tensor) -> Tensor:
    """The mean of the soft code and its bits; the gradient is that of the soft one."""
    return soft + (torch.sign(soft) - soft).detach() / 2


def _regularized(soft: Tensor, s: Settings) -> Tensor:
    """Bits that are balanced, close to -1 and 1, and independent of each other."""
    hard = soft + (torch.sign(soft) - soft).detach()
    correlation = hard.T @ hard / len(hard)
    across = correlation - torch.diag(torch.diag(correlation))
    balance = soft.mean(dim=0).square().sum()
    quantization = (soft.abs() - 1).square().mean()
    return (
        s.balance * balance + s.quantization * quantization + s.decorrelation * across.square().mean() * soft.shape[1]
    )


def _contrast(left: Tensor, right: Tensor, temperature: float) -> Tensor:
    """Contrastive loss: the other view of a picture must be the closest of the batch."""
    similar = left @ right.T / left.shape[1] / temperature
    own = torch.arange(len(left))
    return (F.cross_entropy(similar, own) + F.cross_entropy(similar.T, own)) / 2
