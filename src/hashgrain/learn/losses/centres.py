"""Class centres for nested grains: each thing's centre begins with the centre of its kind."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from hashgrain.errors import TrainingError


def spread_centres(n: int, bits: int, generator: np.random.Generator, tries: int = 64) -> NDArray[np.int8]:
    """n balanced codes of -1 and +1, each the farthest of `tries` random ones from those before it."""
    if n > 2**bits:
        raise TrainingError(f"{n} classes do not fit into {bits} bits; give the grain more bits")
    balanced = np.repeat(np.array([1, -1], np.int8), [bits - bits // 2, bits // 2])
    centres = np.empty((n, bits), np.int8)
    for i in range(n):
        candidates = generator.permuted(np.tile(balanced, (tries, 1)), axis=1)
        if i:
            nearest = (bits - candidates.astype(int) @ centres[:i].T.astype(int)).min(axis=1)
            centres[i] = candidates[nearest.argmax()]
        else:
            centres[i] = candidates[0]
    return centres


def nested_centres(parents: NDArray[np.int64], n_kinds: int, bits: tuple[int, int], seed: int) -> tuple[Tensor, Tensor]:
    """Centres of the kinds (n_kinds, bits[0]) and of the things (n_things, bits[1]), a prefix of each other."""
    generator = np.random.default_rng(seed)
    kinds = spread_centres(n_kinds, bits[0], generator)
    rest = spread_centres(len(parents), bits[1] - bits[0], generator)
    things = np.concatenate([kinds[parents], rest], axis=1)
    return torch.from_numpy(kinds).float(), torch.from_numpy(things).float()


class NestedCentreLoss(nn.Module):
    """Cross-entropy over the cosines between a prefix and its class centres (OrthoHash, Hoe et al., 2021).

    - log softmax_c (scale * (cos(outputs[:bits], centre_c) - margin * [c is the label])): the centres are
    binary, so a small angle is a small Hamming distance and no separate quantisation is needed there.
    The norm of each prefix is divided out, so that no grain outweighs the next by its length.
    """

    def __init__(self, centres: Tensor, *, scale: float, margin: float) -> None:
        super().__init__()
        self.scale, self.margin, self.bits = scale, margin, centres.shape[1]
        self.register_buffer("directions", F.normalize(centres, dim=1))
        self.directions: Tensor

    def forward(self, outputs: Tensor, labels: Tensor) -> Tensor:
        cosines = F.normalize(outputs[:, : self.bits], dim=1) @ self.directions.T
        target = F.one_hot(labels, len(self.directions)).to(cosines.dtype)
        return F.cross_entropy(self.scale * (cosines - self.margin * target), labels)
