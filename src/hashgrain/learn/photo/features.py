"""Features of pictures under the pretrained backbone, computed once and kept: fitting a head then takes seconds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from hashgrain.learn.kept_features import Features as Features
from hashgrain.learn.kept_features import KeptFeatures
from hashgrain.learn.photo.graph import backbone_model


class FeatureCache(KeptFeatures):
    """Those of EfficientNet-Lite, from the bytes of its weights."""

    def __init__(
        self, folder: Path, weights: bytes, size: int = 224, threads: int = 2, say: Callable[[str], None] = print
    ) -> None:
        super().__init__(folder, backbone_model(weights), (size, size), threads=threads, say=say)
