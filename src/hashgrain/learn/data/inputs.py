"""The inputs of the network: random views of pictures, or cached features."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor

from hashgrain.learn.data.augment import Augmentation, random_views


class Inputs(Protocol):
    plain: NDArray[Any]  # without augmentation

    def __len__(self) -> int: ...

    def batch(
        self, rows: NDArray[np.int64], views: int, size: int, generator: Generator, device: torch.device
    ) -> Tensor:
        """(views * rows, ...): one view of all rows, then another view of all rows, and so on."""


class PictureInputs:
    """Pictures in bytes (n, s, s, 3), augmented at random."""

    def __init__(self, pixels: NDArray[np.uint8], augmentation: Augmentation) -> None:
        self.plain: NDArray[Any] = pixels
        self.augmentation = augmentation

    def __len__(self) -> int:
        return len(self.plain)

    def batch(
        self, rows: NDArray[np.int64], views: int, size: int, generator: Generator, device: torch.device
    ) -> Tensor:
        pixels = torch.from_numpy(self.plain[rows]).to(device)
        seen = torch.cat([random_views(pixels, size, generator, self.augmentation) for _ in range(views)])
        return seen.contiguous(memory_format=torch.channels_last)


class FeatureInputs:
    """Cached features (views, n, width): a batch takes as many different views of each picture as it needs."""

    def __init__(self, views: NDArray[np.float32]) -> None:
        self.views = torch.from_numpy(views)
        self.plain: NDArray[Any] = views[0]

    def __len__(self) -> int:
        return self.views.shape[1]

    def batch(
        self, rows: NDArray[np.int64], views: int, size: int, generator: Generator, device: torch.device
    ) -> Tensor:
        n = len(self.views)
        first = torch.randint(n, (len(rows),), generator=generator)
        # With a single cached view both are equal, and only the dropout of the head makes them differ.
        chosen = torch.cat([(first + step) % n for step in range(views)])
        return self.views[chosen, torch.from_numpy(rows).repeat(views)].to(device)
