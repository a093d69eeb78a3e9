"""A Keras model as a network: Keras 3 on torch opens it in a separate process, and writes it as ONNX.

A `.keras` file is a zip of `config.json`, which names the layers, and `model.weights.h5`, which holds numbers. Layers
other than Keras' own are third-party code. They are refused before Keras opens the file, and so are layers that make
Keras run code.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
import json
import os
import subprocess
import sys
import tempfile
import zipfile
import zlib
from dataclasses import replace
from pathlib import Path
from types import NoneType
from typing import Any

from hashgrain.errors import Remedy, TrainingError
from hashgrain.files import read_regular
from hashgrain.learn.encoders.files import SourceFiles
from hashgrain.learn.encoders.network import Network
from hashgrain.learn.encoders.onnx_source import vision
from hashgrain.learn.encoders.preprocessing import Wishes
from hashgrain.models.bundle_files import MAX_ONNX_BYTES

CONFIG, WEIGHTS = "config.json", "model.weights.h5"
PARTS = {CONFIG, WEIGHTS, "metadata.json"}
MAX_CONFIG_BYTES = 64 << 20
SECONDS = 900
OWN = {
    "keras",
    "keras.layers",
    "keras.initializers",
    "keras.regularizers",
    "keras.constraints",
    "keras.activations",
    "keras.models",
    "keras.src.applications.convnext",  # whose LayerScale is
    "keras.src.models.functional",
    "keras.src.models.sequential",
}
OPERATIONS = "keras.src.ops."
# Layers of Keras that run foreign code or read another file.
REFUSED = {"Lambda", "TorchModuleWrapper", "JaxLayer", "FlaxLayer", "TFSMLayer"}
FUNCTIONS = {
    *("relu", "relu6", "leaky_relu", "elu", "selu", "celu", "gelu", "silu", "swish", "mish", "softmax", "log_softmax"),
    *("sigmoid", "hard_sigmoid", "hard_silu", "hard_swish", "hard_tanh", "tanh", "softplus", "softsign", "linear"),
    "exponential",
}
USUAL = "mean=0 std=1/255 for 0 to 255, mean=0.5 std=0.5 for -1 to 1, mean=0 std=1 for 0 to 1"


def from_keras(file: Path, size: int | None, wishes: Wishes) -> Network:
    """Read `keras:FILE.keras`. If the model does not scale its colors first, the user must give mean and std."""
    try:
        content = read_regular(file, MAX_ONNX_BYTES)
    except OSError as error:
        raise TrainingError(
            f"cannot read {file} ({error.strerror}); keras:FILE.keras takes a model of Keras 3"
        ) from None
    _check(content, str(file))
    if importlib.util.find_spec("keras") is None:
        raise TrainingError("keras:FILE.keras takes an extra: pip install 'hashgrain[keras]'")
    graph, answer = _exported(content, str(file), size or 0, wishes.layer)
    if answer["scaled"] and not (wishes.mean or wishes.std):
        wishes = replace(wishes, mean=(0.0, 0.0, 0.0), std=(1 / 255, 1 / 255, 1 / 255))
    if not (wishes.mean and wishes.std):
        raise TrainingError(
            f"{file} does not say which colors it takes, and does not scale them itself",
            remedy=Remedy(f"set mean= and std=, such as {USUAL}", "set_colors", usual=USUAL),
        )
    network = vision(graph, str(file), None, size or int(answer["size"]), wishes)
    lock = {
        **network.source,
        "feature": answer["feature"],
        "license": SourceFiles(file.parent).license(),
        "files": {file.name: hashlib.sha256(content).hexdigest()},
    }
    return replace(network, source=lock)


def _check(content: bytes, where: str) -> None:
    """Refuse anything but a model of Keras' own layers."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as opened:
            names = {each.filename: each for each in opened.infolist()}
            if (
                not {CONFIG, WEIGHTS} <= set(names) <= PARTS
                or sum(each.file_size for each in names.values()) > MAX_ONNX_BYTES
            ):
                raise TrainingError(
                    f"{where} is not a .keras file of layers and weights alone; it holds {', '.join(names)[:200]}"
                )
            if names[CONFIG].file_size > MAX_CONFIG_BYTES:
                raise TrainingError(f"{where} describes more layers than any model has")
            config = json.loads(opened.read(CONFIG))
    except (zipfile.BadZipFile, zlib.error, ValueError, RuntimeError, OSError) as error:  # RuntimeError: encrypted
        raise TrainingError(
            f"{where} is not a .keras file, or a damaged one ({error}); save the model again, as .keras"
        ) from None
    if not isinstance(config, dict) or "class_name" not in config:
        raise TrainingError(f"{where} describes no model; save it again, as .keras")
    left: list[Any] = [{key: value for key, value in config.items() if key != "compile_config"}]
    while left:
        part = left.pop()
        if isinstance(part, dict):
            _check_part(part, where)
            left += part.values()
        elif isinstance(part, list):
            left += part


def _check_part(part: dict[str, Any], where: str) -> None:
    name, module = part.get("class_name"), part.get("module")
    if name is None or (isinstance(name, str) and name.startswith("__") and "module" not in part):
        return  # a tensor, a number: no class
    texts = isinstance(name, str) and isinstance(module, (str, NoneType))
    if name == "function":
        config = part.get("config")
        own = texts and module == "builtins" and isinstance(config, str) and config in FUNCTIONS
    else:  # Keras imports MODULE.NAME, so a name with a dot would resolve to another module
        own = texts and "." not in name and (module in OWN or str(module).startswith(OPERATIONS))
    if not own or name in REFUSED:
        raise TrainingError(
            f"{where} contains {name!r:.80} of {module!r:.80}, which is no layer of Keras' own: such code is not run."
            " Export the model to ONNX where you trust it, model.export('model.onnx', format='onnx'), and take that"
        )


def _exported(content: bytes, where: str, size: int, layer: str) -> tuple[bytes, dict[str, Any]]:
    """The graph, and the facts that the process reports."""
    with tempfile.TemporaryDirectory(prefix="hashgrain-keras-") as folder:
        model, out = Path(folder, "model.keras"), Path(folder, "model.onnx")
        model.write_bytes(content)
        src = str(Path(__file__).parents[3])
        environment = {**os.environ, "KERAS_BACKEND": "torch", "KERAS_HOME": folder, "PYTHONPATH": src}
        module = "hashgrain.learn.encoders.keras_export"
        command = [sys.executable, "-m", module, str(model), str(out), str(size), layer]
        try:
            done = subprocess.run(
                command, cwd=folder, env=environment, capture_output=True, timeout=SECONDS, check=False
            )
        except subprocess.TimeoutExpired:
            raise TrainingError(
                f"{where} was not exported within {SECONDS // 60} minutes; take a smaller model"
            ) from None
        answer = _last_line(done.stdout)
        if answer is None or "refused" in answer:
            why = (
                answer["refused"]
                if answer
                else "the process that opened it ended; it may need more memory than there is"
            )
            raise TrainingError(f"{where} cannot be taken: {why}")
        try:
            return read_regular(out, MAX_ONNX_BYTES), answer
        except OSError as error:
            raise TrainingError(f"{where} gives no graph that can be used ({error.strerror})") from None


def _last_line(printed: bytes) -> dict[str, Any] | None:
    try:
        answer = json.loads(printed.rsplit(b"\n", 1)[-1])
    except ValueError:
        return None
    return answer if isinstance(answer, dict) else None
