"""Models of Keras as models of ours: the same features and codes, and nothing but Keras' own layers."""

from __future__ import annotations

import importlib.util
import io
import json
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from conftest import fill
from hashgrain import Encoder, Grains, Library
from hashgrain.errors import TrainingError
from hashgrain.hashers import ITQ
from hashgrain.models import Bundle
from in_process import hashgrain

pytest.importorskip("torch", reason="needs the train extra")
pytest.importorskip("onnx", reason="needs the train extra")
pytestmark = pytest.mark.train

from hashgrain.graphs.heads import with_hasher  # noqa: E402
from hashgrain.learn.encoders.network import Network  # noqa: E402
from hashgrain.learn.encoders.preprocessing import Wishes  # noqa: E402
from hashgrain.learn.encoders.sources import network_of  # noqa: E402

SIZE = 32
needs_keras = pytest.mark.skipif(importlib.util.find_spec("keras") is None, reason="needs the keras extra")


@pytest.fixture(scope="module")
def keras() -> Any:
    os.environ["KERAS_BACKEND"] = "torch"
    import keras

    keras.utils.set_random_seed(0)
    return keras


def taken(file: Path, *settings: str, size: int | None = None) -> Network:
    return network_of(f"keras:{file}", size, False, lambda text: None, Wishes.of(settings))


def pictures(count: int = 40) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (count, SIZE, SIZE, 3), np.uint8)


def features(network: Network, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    import onnxruntime

    session = onnxruntime.InferenceSession(network.graph, providers=["CPUExecutionProvider"])
    return session.run(["features"], {"pixels": pixels})[0]


def small(keras: Any, *, scaled: bool = True, edge: int | None = SIZE, head: str = "", pooled: bool = True) -> Any:
    """Convolutions of the kinds that classifiers of Keras are made of."""
    layers = keras.layers
    taken = keras.Input((edge, edge, 3))
    x = layers.Rescaling(1 / 127.5, offset=-1)(taken) if scaled else taken
    x = layers.Conv2D(8, 3, strides=2, padding="same", use_bias=False)(x)
    x = layers.BatchNormalization()(x)
    x = layers.Activation("silu")(x)
    side = layers.DepthwiseConv2D(3, padding="same", name="deep")(x)
    x = layers.Add()([x, side])
    if pooled:
        x = layers.GlobalAveragePooling2D(name="pool")(x)
    if head:
        x = layers.Dropout(0.2)(x)
        if head == "conv":  # as MobileNetV3 of Keras ends
            x = layers.Conv2D(5, 1, name="scores")(layers.Reshape((1, 1, -1))(x))
            x = layers.Activation("softmax")(layers.Flatten()(x))
        else:
            x = layers.Dense(5, activation=head, name="scores")(x)
    model = keras.Model(taken, x)
    for layer in model.layers:  # statistics that a training leaves, which are not those of a new layer
        if isinstance(layer, layers.BatchNormalization):
            layer.set_weights([np.random.default_rng(1).uniform(0.5, 1.5, each.shape) for each in layer.get_weights()])
    return model


def of_keras(keras: Any, model: Any, pixels: NDArray[np.uint8], mean: float = 0, std: float = 1 / 255) -> Any:
    return keras.ops.convert_to_numpy(model((pixels / 255 - mean) / std, training=False))


@needs_keras
def test_codes_are_those_of_the_model_in_keras(keras: Any, tmp_path: Path) -> None:
    model = small(keras)
    model.save(tmp_path / "m.keras")
    network = taken(tmp_path / "m.keras")
    pixels = pictures()
    wanted = of_keras(keras, model, pixels)
    assert np.allclose(features(network, pixels), wanted, atol=1e-4)
    assert network.source["preprocessing"]["std"] == [1 / 255] * 3  # it scales by itself, so it takes 0 to 255
    assert network.source["preprocessing"]["layout"] == "nhwc"
    hasher = ITQ(6).fit(wanted)
    backbone = Bundle("m", network.graph, Grains(look=6), (SIZE, SIZE))
    bundle = with_hasher(backbone, hasher, Grains(look=6), "m-itq", pixels)
    sure = np.abs(hasher.transform(wanted)).min(axis=1) > 1e-4  # rounding turns no bit of these
    assert sure.sum() > 30
    assert (Encoder(bundle).codes(pixels).bits()[sure] == hasher.codes(wanted).bits()[sure]).all()


@needs_keras
@pytest.mark.parametrize(
    ("made", "layer", "named"),
    [
        ({"head": "softmax"}, "", "input of the classifier scores"),
        ({"head": "conv"}, "", "input of the classifier scores"),
        ({"head": "linear"}, "", "output of scores"),
        ({"head": "softmax"}, "pool", "layer pool"),
        ({"head": "softmax"}, "deep", "layer deep"),
        ({"pooled": False}, "", "output of add"),
        ({"edge": None}, "", "output of pool"),
    ],
)
def test_features_are_taken_from_where_they_are(keras: Any, tmp_path: Path, made: Any, layer: str, named: str) -> None:
    model = small(keras, **made)
    model.save(tmp_path / "m.keras")
    network = taken(tmp_path / "m.keras", *([f"layer={layer}"] if layer else []), size=SIZE)
    assert network.source["feature"].startswith(named)
    end = {"": model.outputs[0], "pool": model.get_layer("pool").output if layer == "pool" else None}.get(layer)
    if made.get("head") in ("softmax", "conv") and not layer:
        end = model.get_layer("scores").input
    if layer == "deep":
        end = model.get_layer("deep").output
    wanted = of_keras(keras, keras.Model(model.inputs, end), pictures(3))
    wanted = wanted.mean(axis=(1, 2)) if wanted.ndim == 4 else wanted
    assert np.allclose(features(network, pictures(3)), wanted, atol=1e-4)


@needs_keras
def test_colors_are_asked_for_where_the_model_does_not_scale_them(keras: Any, tmp_path: Path) -> None:
    model = small(keras, scaled=False)
    model.save(tmp_path / "m.keras")
    with pytest.raises(TrainingError, match=r"does not say which colors it takes.*mean=0.5 std=0.5 for -1 to 1"):
        taken(tmp_path / "m.keras")
    network = taken(tmp_path / "m.keras", "mean=0.5", "std=0.5")
    assert np.allclose(features(network, pictures(3)), of_keras(keras, model, pictures(3), 0.5, 0.5), atol=1e-4)


@needs_keras
def test_a_model_of_keras_becomes_a_library(keras: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    small(keras).save(tmp_path / "m.keras")
    fill(tmp_path / "pictures", 20)
    done = hashgrain("model", "make", "mine", "--from", "keras:m.keras", "--pictures", "pictures", "--bits", "8", "-q")
    assert done.exit_code == 0, done.stderr
    assert hashgrain("add", "photos.hg", "pictures", "--model", "mine", "-q").exit_code == 0
    with Library.open("photos.hg") as library:
        assert library.search(tmp_path / "pictures/00003.jpg", k=1)[0].distance == 0


@needs_keras
@pytest.mark.parametrize(
    ("kind", "reason", "asked"),
    [
        ("two inputs", "takes 2 inputs, and a backbone takes only pictures", {}),
        ("two outputs", "gives 2 outputs: say whose features", {}),
        ("rows", r"it takes \(None, 7\)", {}),
        ("small", "takes pictures of 32x32 px, not of 48", {"size": 48}),
        ("small", "it has no layer 'none'; the last ones are", {"layer": "layer=none"}),
    ],
)
def test_models_that_are_no_backbone_are_refused(
    keras: Any, tmp_path: Path, kind: str, reason: str, asked: dict[str, Any]
) -> None:
    layers = keras.layers
    first, second, row = keras.Input((SIZE, SIZE, 3)), keras.Input((SIZE, SIZE, 3)), keras.Input((7,))
    pooled = layers.GlobalAveragePooling2D()
    models = {
        "two inputs": lambda: keras.Model([first, second], pooled(layers.Add()([first, second]))),
        "two outputs": lambda: keras.Model(first, [pooled(first), first]),
        "rows": lambda: keras.Model(row, layers.Dense(3)(row)),
        "small": lambda: small(keras),
    }
    models[kind]().save(tmp_path / "m.keras")
    with pytest.raises(TrainingError, match=reason):
        taken(tmp_path / "m.keras", *filter(None, [asked.get("layer")]), size=asked.get("size"))


@needs_keras
def test_weights_in_another_file_are_refused(keras: Any, tmp_path: Path) -> None:
    import h5py

    small(keras).save(tmp_path / "m.keras")
    with zipfile.ZipFile(tmp_path / "m.keras") as opened:
        parts = {name: opened.read(name) for name in opened.namelist()}
    weights = io.BytesIO(parts["model.weights.h5"])
    with h5py.File(weights, "r+") as opened:
        opened["elsewhere"] = h5py.ExternalLink("/etc/hostname", "/")
    written(tmp_path / "m.keras", parts | {"model.weights.h5": weights.getvalue()})
    with pytest.raises(TrainingError, match=r"its weights point to another file \(elsewhere\)"):
        taken(tmp_path / "m.keras")


# --- what needs no Keras to be refused


def written(file: Path, parts: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(file, "w") as opened:
        for name, content in parts.items():
            opened.writestr(name, content)
    return file


def described(**layer: Any) -> dict[str, bytes]:
    config = {
        "module": "keras",
        "class_name": "Sequential",
        "config": {"name": "s", "layers": [layer]},
        "registered_name": None,
    }
    return {"config.json": json.dumps(config).encode(), "model.weights.h5": b"", "metadata.json": b"{}"}


@pytest.mark.parametrize(
    "layer",
    [
        {"module": "keras.layers", "class_name": "Lambda", "config": {}},
        {"module": "keras", "class_name": "layers.Lambda", "config": {}},  # Keras would find it under this name, too
        {"module": "keras", "class_name": "function", "config": "utils.plot_model"},
        {"module": "builtins", "class_name": "function", "config": {}},
        {"module": [], "class_name": "Dense", "config": {}},
        {"module": "keras.layers", "class_name": 5, "config": {}},
        {"module": "keras.layers", "class_name": "TFSMLayer", "config": {"filepath": "/tmp/x"}},
        {"module": "keras.layers", "class_name": "TorchModuleWrapper", "config": {}},
        {"module": None, "class_name": "MyLayer", "config": {}, "registered_name": "mine>MyLayer"},
        {"module": "os", "class_name": "system", "config": {}},
        {"module": "builtins", "class_name": "function", "config": "eval"},
        {
            "module": "keras.layers",
            "class_name": "Dense",
            "config": {"activation": {"module": "os", "class_name": "x"}},
        },
        {"module": "keras.utils", "class_name": "get_file", "config": {}},
    ],
)
def test_layers_that_are_not_those_of_keras_are_refused_unseen(tmp_path: Path, layer: dict[str, Any]) -> None:
    with pytest.raises(TrainingError, match="which is no layer of Keras' own: such code is not run"):
        taken(written(tmp_path / "m.keras", described(**layer)))


def test_files_that_are_no_models_are_refused(tmp_path: Path) -> None:
    good = described(module="keras.layers", class_name="ReLU", config={})
    for parts, reason in (
        ({}, "is not a .keras file of layers and weights alone"),
        ({**good, "assets/x.txt": b""}, "is not a .keras file of layers and weights alone"),
        ({**good, "config.json": b"{"}, "is not a .keras file, or a damaged one"),
        ({**good, "config.json": b"[]"}, "describes no model"),
        ({**good, "config.json": b"[" * 100_000}, "is not a .keras file, or a damaged one"),
    ):
        with pytest.raises(TrainingError, match=reason):
            taken(written(tmp_path / "m.keras", parts))
    (tmp_path / "m.keras").write_bytes(b"\x89HDF\r\n")
    with pytest.raises(TrainingError, match=r"is not a .keras file, or a damaged one"):
        taken(tmp_path / "m.keras")
    with pytest.raises(TrainingError, match=r"cannot read .*none.keras"):
        taken(tmp_path / "none.keras")
    with pytest.raises(TrainingError, match="layer=pool is for keras:FILE"):
        network_of("onnx:m.onnx", None, False, lambda text: None, Wishes.of(["layer=pool"]))
