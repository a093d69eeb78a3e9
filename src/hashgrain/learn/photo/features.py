"""A cache of the features of training pictures: with it, fitting a head takes seconds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hashgrain.hashers import Features
from hashgrain.learn.data.kept_features import KeptFeatures, Pictures
from hashgrain.learn.photo.graph import backbone_model, layout_model
from hashgrain.types import Log


@dataclass(frozen=True)
class Traits:
    """Backbone features and layouts of pictures, one row each."""

    features: Features
    layouts: Features

    def __len__(self) -> int:
        return len(self.features)

    def __getitem__(self, rows: slice | NDArray[Any]) -> Traits:
        return Traits(self.features[rows], self.layouts[rows])

    @classmethod
    def joined(cls, *parts: Traits) -> Traits:
        return cls(*(np.concatenate([getattr(each, of) for each in parts]) for of in ("features", "layouts")))

    def repeated(self, times: int) -> Traits:
        return Traits(np.tile(self.features, (times, 1)), np.tile(self.layouts, (times, 1)))


class FeatureCache(KeptFeatures):
    """Features of EfficientNet-Lite, built from the bytes of its weights, and layouts of the same pictures."""

    def __init__(self, folder: Path, weights: bytes, size: int = 224, threads: int = 2, log: Log = print) -> None:
        edges = (size, size)
        super().__init__(folder, backbone_model(weights), edges, threads=threads, log=log)
        self.layouts = KeptFeatures(folder, layout_model(), edges, threads=threads, log=log, kept_as=np.float32)

    def traits(self, name: str, pictures: Callable[[], Pictures]) -> Traits:
        """The traits of a set, whose pictures must be the same at every call."""
        return Traits(self.of(name, pictures), self.layouts.of(name, pictures))
