"""Class centers at every level of a hierarchy, each the mean of those below it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor

from hashgrain.learn.losses.classification import label_cross_entropy
from hashgrain.learn.losses.loss import Loss
from hashgrain.learn.losses.relaxed import shortfall

CUBE = 1.1  # outputs longer than that are pulled back


class HpdhLoss(Loss):
    """Semantic hierarchy preserving deep hashing (HPDH: Zhang et al., 2019).

    sum over levels l of the cross-entropy over - l / (2 L) * |u - center|^2, the labels of a picture sharing 1,
    + mean over pictures of (cube * sum (|u| - 1.1)+ + vertex * sum (|u| - 1)^2) / bits.
    Level 1 is next to the root and level L the finest: coarse levels have wider bells. (l / L are the authors' numbers
    for two levels; for four they have 0.67 in the place of 0.75.) All levels see the whole code. `stages` times in
    training, a finest center becomes the mean of the outputs of its pictures since then, and every other center the
    mean of those below it, which are known from pictures of one label each. A class without pictures keeps its center.
    The truth has the classes of all grains side by side, coarse to fine, as for SHDH.
    """

    hierarchical = True

    sums: Tensor  # (finest classes, bits) of the outputs seen
    counts: Tensor  # of the pictures seen, one number a finest class
    done: Tensor  # stages

    def __init__(
        self,
        bits: int | Sequence[int],
        classes: int | Sequence[int],
        *,
        cube: float = 10.0,
        vertex: float = 0.1,
        stages: int = 30,
        seed: int = 0,
    ) -> None:
        widths = (bits,) if isinstance(bits, int) else tuple(bits)
        self.sizes = (classes,) if isinstance(classes, int) else tuple(classes)
        super().__init__(widths[-1], sum(self.sizes))
        self.cube, self.vertex, self.stages = cube, vertex, stages
        dice = torch.Generator().manual_seed(seed)
        for level, size in enumerate(self.sizes):
            self.register_buffer(f"centers_{level}", torch.randn(size, self.bits, generator=dice))
        for level, (coarse, fine) in enumerate(pairwise(self.sizes)):
            self.register_buffer(f"children_{level}", torch.zeros(coarse, fine, dtype=torch.bool))
        self.register_buffer("sums", torch.zeros(self.sizes[-1], self.bits))
        self.register_buffer("counts", torch.zeros(self.sizes[-1]))
        self.register_buffer("done", torch.zeros((), dtype=torch.long))

    def centers(self, level: int) -> Tensor:
        """(classes, bits) of a level; 0 is the coarsest."""
        return self.get_buffer(f"centers_{level}")

    def advance(self, share: float) -> None:
        due = math.floor(share * self.stages)
        if due > int(self.done):
            self.move()
            self.done.fill_(due)

    @torch.no_grad()
    def move(self) -> None:
        """Compute the centers from the pictures seen since the last time."""
        seen = self.counts > 0
        finest = self.centers(len(self.sizes) - 1)
        finest[seen] = self.sums[seen] / self.counts[seen, None]
        for level in reversed(range(len(self.sizes) - 1)):
            children = self.get_buffer(f"children_{level}").to(finest.dtype)
            known = children.any(dim=1)
            means = children @ self.centers(level + 1) / children.sum(dim=1, keepdim=True).clamp(min=1)
            self.centers(level)[known] = means[known]
        self.sums.zero_()
        self.counts.zero_()

    def forward(self, outputs: Tensor, truth: Tensor) -> Tensor:
        truths = torch.split(truth, list(self.sizes), dim=1)
        if self.training:
            self._remember(outputs.detach(), truths)
        total = outputs.new_zeros(())
        for level, hot in enumerate(truths):
            bell = (level + 1) / len(self.sizes) / 2
            centers = self.centers(level).to(outputs.dtype)
            # |u|^2 is the same for all classes, so it may be left out.
            nearness = 2 * outputs @ centers.T - centers.square().sum(dim=1)
            total = total + label_cross_entropy(bell * nearness, hot)
        outside = F.relu(outputs.abs() - CUBE).sum(dim=1).mean()
        off = shortfall(outputs).square().sum(dim=1).mean()
        return total + (self.cube * outside + self.vertex * off) / self.bits

    @torch.no_grad()
    def _remember(self, outputs: Tensor, truths: Sequence[Tensor]) -> None:
        for level, (coarse, fine) in enumerate(pairwise(truths)):
            single = (((coarse == 1).sum(dim=1) == 1) & ((fine == 1).sum(dim=1) == 1)).to(fine.dtype)[:, None]
            self.get_buffer(f"children_{level}").logical_or_(((single * coarse).T @ fine) > 0)
        finest = truths[-1].to(self.sums.dtype)
        self.sums.add_(finest.T @ outputs.to(self.sums.dtype))
        self.counts.add_(finest.sum(dim=0))
