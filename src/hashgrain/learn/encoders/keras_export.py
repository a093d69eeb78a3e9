"""The process that opens a Keras model and writes it as ONNX: `python -m hashgrain.learn.encoders.keras_export`.

It is a separate process because Keras chooses its backend at import, and because a C library reads the untrusted
weights. `keras_source` checks the file before.
"""

from __future__ import annotations

import json
import os
import sys
import zipfile
from pathlib import Path
from typing import Any

SCALING = ("Rescaling", "Normalization")
BEHIND = ("Softmax", "Activation", "Flatten", "Reshape", "Dropout")  # layers that may follow a classifier's last one
SCORES = ("softmax", "sigmoid")  # activations of a classifier


class RefusedError(Exception):
    pass


def main(file: str, out: str, size: int, layer: str) -> dict[str, Any]:
    os.environ["KERAS_BACKEND"] = "torch"
    import keras

    _refuse_links(Path(file))
    model = keras.saving.load_model(file, compile=False, safe_mode=True)
    if len(model.inputs) != 1:
        raise RefusedError(f"it takes {len(model.inputs)} inputs, and a backbone takes only pictures")
    if len(model.outputs) != 1 and not layer:
        raise RefusedError(f"it gives {len(model.outputs)} outputs: say whose features are wanted, layer=NAME")
    output, named = _features(model, layer)
    shape = _shape(model, size)
    whole = keras.Model(model.inputs[0], output)
    whole(keras.ops.zeros((1, *shape[1:]), dtype=model.inputs[0].dtype))
    whole.export(
        out,
        format="onnx",
        verbose=False,
        input_signature=[keras.InputSpec(shape=shape, dtype=model.inputs[0].dtype, name="pixels")],
    )
    edges = [edge for edge in shape[1:] if edge != 3]
    return {"feature": named, "scaled": _scales(model), "size": edges[0] if edges else 3}


def _features(model: Any, layer: str) -> tuple[Any, str]:
    """The output of the named layer, or of the model without its classifier."""
    if layer:
        names = [each.name for each in model.layers]
        if layer not in names:
            raise RefusedError(f"it has no layer {layer!r}; the last ones are {', '.join(names[-8:])}")
        return model.get_layer(layer).output, f"layer {layer}"
    scores = False
    for each in reversed(model.layers):
        kind = type(each).__name__
        scores = scores or kind == "Softmax" or getattr(getattr(each, "activation", None), "__name__", "") in SCORES
        if kind in ("Dense", "Conv2D"):
            if scores:
                return each.input, f"input of the classifier {each.name}"
            break
        if kind not in BEHIND:
            break
    return model.outputs[0], f"output of {model.layers[-1].name}"


def _shape(model: Any, size: int) -> tuple[int | None, ...]:
    """The input shape, with dynamic edges set to the requested size, or to 224."""
    shape = tuple(model.inputs[0].shape)
    if len(shape) != 4 or 3 not in (shape[1], shape[3]):
        raise RefusedError(f"it takes {shape}; a backbone takes pictures in three colors, (n, s, s, 3) or (n, 3, s, s)")
    return (None, *(edge or size or 224 for edge in shape[1:]))


def _scales(model: Any) -> bool:
    """Whether the model scales colors first: then it takes values from 0 to 255."""
    layers = [layer for layer in model.layers if type(layer).__name__ != "InputLayer"]
    if not layers:
        return False
    return _scales(layers[0]) if hasattr(layers[0], "layers") else type(layers[0]).__name__ in SCALING


def _refuse_links(file: Path) -> None:
    """Refuse weights that link to another file."""
    import h5py

    with zipfile.ZipFile(file) as opened, opened.open("model.weights.h5") as stored, h5py.File(stored, "r") as weights:
        left = [weights]
        while left:
            group = left.pop()
            for name in group:
                if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                    raise RefusedError(f"its weights point to another file ({name})")
                inner = group[name]
                if isinstance(inner, h5py.Group):
                    left.append(inner)
                elif inner.external or inner.is_virtual:
                    raise RefusedError(f"its weights point to another file ({name})")


if __name__ == "__main__":
    try:
        answer = main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4])
    except RefusedError as error:
        answer = {"refused": str(error)}
    except Exception as error:  # Keras, h5py and torch raise whatever they like
        answer = {
            "refused": f"{type(error).__name__}: {str(error).strip().splitlines()[0][:200] if str(error) else ''}"
        }
    sys.stdout.write("\n" + json.dumps(answer))
