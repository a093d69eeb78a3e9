"""Center-reassigned hashing: classes take the codebook words nearest to the bits of their pictures."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from hashgrain.errors import TrainingError
from hashgrain.learn.losses.classification import margin_cross_entropy
from hashgrain.learn.losses.loss import Loss
from hashgrain.learn.losses.ortho_hash import cosines_to
from hashgrain.learn.losses.quantization import quantization as to_bits
from hashgrain.learn.losses.relaxed import signs
from hashgrain.learn.training.centers import class_centers

MOST_WORDS = 2.0  # of the codebook per class


class CrhLoss(Loss):
    """Codebook-centric deep hashing (CRH: Yin et al., AAAI 2026).

    Cross-entropy over scale * (cos(u, center_c) - margin * [c is a label]), the labels of a picture sharing 1,
    + quantization * mean (|tanh u| - 1)^2.
    The code is divided into `heads` parts of equal width, each with a codebook of 2 * classes words. A center has a
    word from each. `stages` times in training, part by part and in random order, each class takes the free word with
    the least mean |sign(u) - word|^2 over its pictures since then, each weighted 1 / its number of labels. So
    similar classes get close centers. Parts are as narrow as possible with 2^width words for all. A class without
    pictures keeps its word.
    """

    codebook: Tensor  # (heads, words, width)
    chosen: Tensor  # (heads, classes)
    sums: Tensor  # (classes, bits) of the signs seen
    done: Tensor  # stages

    def __init__(
        self,
        bits: int,
        classes: int,
        *,
        heads: int = 0,
        scale: float = 8.0,
        margin: float = 0.2,
        quantization: float = 0.1,
        stages: int = 20,
        seed: int = 0,
    ) -> None:
        super().__init__(bits, classes)
        self.scale, self.margin, self.quantization, self.stages, self.seed = scale, margin, quantization, stages, seed
        width = head_width(bits, classes, heads)
        words = min(round(MOST_WORDS * classes), 2**width)
        books = [class_centers(words, width, seed + head).tensor() for head in range(bits // width)]
        self.register_buffer("codebook", torch.stack(books))
        self.register_buffer("chosen", torch.arange(classes).repeat(bits // width, 1))
        self.register_buffer("sums", torch.zeros(classes, bits))
        self.register_buffer("done", torch.zeros((), dtype=torch.long))

    @property
    def centers(self) -> Tensor:
        """(classes, bits), the current centers."""
        heads = torch.arange(len(self.codebook), device=self.chosen.device)[:, None]
        return self.codebook[heads, self.chosen].transpose(0, 1).flatten(1)

    def advance(self, share: float) -> None:
        due = math.floor(share * self.stages)
        if due > int(self.done):
            self.reassign()
            self.done.fill_(due)

    @torch.no_grad()
    def reassign(self) -> None:
        """For codes and words of -1 and +1, the least squared distance is the greatest product."""
        seen = self.sums.abs().sum(dim=1) > 0
        dice = np.random.default_rng((self.seed, int(self.done)))
        parts = self.sums.reshape(self.classes, len(self.codebook), -1)
        for head, words in enumerate(self.codebook):
            wishes = (parts[:, head] @ words.T).cpu()
            free = torch.ones(len(words), dtype=torch.bool)
            free[self.chosen[head][~seen].cpu()] = False
            for own in dice.permutation(seen.nonzero().flatten().tolist()):
                best = int(torch.where(free, wishes[own], torch.tensor(-torch.inf)).argmax())
                self.chosen[head, own] = best
                free[best] = False
        self.sums.zero_()

    def forward(self, outputs: Tensor, truth: Tensor) -> Tensor:
        if self.training:
            shares = truth / truth.sum(dim=1, keepdim=True).clamp(min=1)
            self.sums.add_((shares.to(outputs.dtype).T @ signs(outputs)).to(self.sums.dtype))
        cosines = cosines_to(self.centers, outputs)
        classified = margin_cross_entropy(cosines, truth, self.scale, self.margin)
        return classified + self.quantization * to_bits(torch.tanh(outputs))


def head_width(bits: int, classes: int, heads: int) -> int:
    """The width of each part of the code: from `heads`, or the least divisor of the bits with enough words."""
    fit = [width for width in range(1, bits + 1) if bits % width == 0 and 2**width >= MOST_WORDS * classes]
    if heads:
        fit = [width for width in range(1, bits + 1) if width * heads == bits and 2**width >= classes]
    if not fit and not heads and 2**bits >= classes:
        return bits
    if not fit:
        more = f" in {heads} heads, which divide the bits and have 2^(bits / heads) words" if heads else ""
        raise TrainingError(f"{classes} classes cannot be told apart by each part of {bits} bits{more}")
    return fit[0]
