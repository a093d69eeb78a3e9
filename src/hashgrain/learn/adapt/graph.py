"""The graph of an adapted model: the base model's whole graph, and the new head after its outputs."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hashgrain.errors import TrainingError
from hashgrain.graphs.heads import FEATURES, OUTPUTS
from hashgrain.hashers import Features
from hashgrain.learn.adapt.head import AdaptedHead
from hashgrain.models import Bundle, Encoder

ROUNDING = 1e-3  # of outputs, which are of the order of 1
TRIED = 4


def adapted_graph(graph: bytes, head: AdaptedHead) -> bytes:
    """Append the head. `features`, `map` and the sizes of the graph stay unchanged; the old `outputs` are renamed."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    model = onnx.load_from_string(graph)
    place = _free_name(model.graph)
    own = f"{place}.own"
    for step in model.graph.node:
        for names in (step.input, step.output):
            names[:] = [own if name == OUTPUTS else name for name in names]
    for value in model.graph.value_info:
        value.name = own if value.name == OUTPUTS else value.name

    def constant(name: str, values: NDArray[Any]) -> str:
        model.graph.initializer.append(numpy_helper.from_array(values, f"{place}.{name}"))
        return f"{place}.{name}"

    def node(kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        model.graph.node.append(helper.make_node(kind, inputs, [output], name=output, **attributes))
        return output

    direction = node("LpNormalization", [FEATURES], f"{place}.direction", axis=1, p=2)
    centered = node("Sub", [direction, constant("mean", head.mean)], f"{place}.centered")
    parts = [
        node("LpNormalization", [centered], f"{place}.features", axis=1, p=2),
        node("LpNormalization", [own], f"{place}.outputs", axis=1, p=2),
    ]
    inputs = node("Concat", parts, f"{place}.inputs", axis=1)
    halves = constant("weight.half", head.weight.astype(np.float16))
    weight = node("Cast", [halves], f"{place}.weight", to=TensorProto.FLOAT)
    added = node("Gemm", [inputs, weight, constant("bias", head.bias)], f"{place}.added")
    model.graph.node.append(helper.make_node("Add", [own, added], [OUTPUTS], name=f"{place}.sum"))
    return bytes(model.SerializeToString())


def check_parity(made: Bundle, base: Encoder, head: AdaptedHead) -> str:
    """Check on noise pictures that the new graph gives what the head computes. Returns a line on the difference."""
    width, height = made.size
    pixels = np.random.default_rng(0).integers(0, 256, (TRIED, height, width, 3), np.uint8)
    own, features = base.outputs_and_features(pixels)
    rows: Features = np.concatenate([features, own], axis=1)
    expected = head.outputs(rows)
    made_outputs, made_features = Encoder(made).outputs_and_features(pixels)
    size = max(1.0, float(np.abs(expected).mean()))
    apart = float(np.abs(made_outputs - expected).max())
    if not apart <= ROUNDING * size or not np.allclose(made_features, features, atol=ROUNDING):  # also false for NaN
        raise TrainingError(f"the graph of {made.name!r} does not compute what its head does; tell us of the model")
    return f"its graph computes what the head does, to {apart:.1g}"


def _free_name(graph: Any) -> str:
    """A prefix that no name of the graph has: a model may be adapted twice."""
    names = {name for node in graph.node for name in (*node.input, *node.output)}
    number = 0
    while any(name.startswith(f"adapted{number}.") for name in names):
        number += 1
    return f"adapted{number}"
