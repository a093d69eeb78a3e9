"""Puts what was fitted on features, ITQ say, into the graph that gives the features: a model of its own.

No network is trained and no torch is needed: the head is three or four ONNX operations behind the backbone.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hashgrain.codes import Grains
from hashgrain.encoder import Bundle, Encoder
from hashgrain.errors import TrainingError
from hashgrain.hashers import Hasher, Projection

OUTPUTS, FEATURES = "outputs", "features"


def with_hasher(
    bundle: Bundle, hasher: Hasher | Projection, grains: Grains, name: str, pictures: NDArray[np.uint8]
) -> Bundle:
    """A new bundle: the backbone of `bundle`, and the hasher in the place of its head.

    `bundle` may also hold the graph of a backbone alone, uint8 `pixels` in and `features` out. The new graph is run
    on `pictures` (n, height, width, 3), a few dozen of any, and must give what the hasher gives, but for rounding.
    Words and labels are left empty, since those of the old codes would be wrong.
    """
    projection = hasher.projection if isinstance(hasher, Hasher) else hasher
    bits = projection.directions.shape[1]
    if grains.bits != bits:
        raise TrainingError(
            f"the hasher gives {bits} bits, {grains} ask for {grains.bits}; fit it with {grains.bits} bits"
        )
    head: dict[str, Any] = {"method": type(hasher).__name__}
    if isinstance(hasher, Hasher):
        head |= {setting: int(value) for setting, value in hasher.get_params().items()}
    backbone = {"name": bundle.name, "digest": bundle.digest, "training": dict(bundle.training)}
    made = Bundle(
        name,
        append_head(bundle.onnx, projection),
        grains,
        bundle.size,
        training={"head": head, "backbone": backbone},
    )
    _check_parity(made, projection, pictures)
    return made


def append_head(graph: bytes, projection: Projection) -> bytes:
    """The graph as far as `features`, and behind it `outputs` = (features - mean) @ directions + offset, or its cosine.

    A head that the graph had is left out, with its weights.
    """
    try:
        import onnx
        from onnx import helper, numpy_helper
    except ImportError:
        raise TrainingError("to write graphs takes an extra: pip install 'hashgrain[train]'") from None
    try:
        model = onnx.load_from_string(graph)
    except Exception as error:  # a damaged file raises whatever its parser raises
        raise TrainingError(f"the graph is not ONNX ({type(error).__name__}); export the model again") from None
    features = _features_of(model.graph, projection)
    if OUTPUTS in _cut_behind(model.graph, FEATURES):
        raise TrainingError(
            f"the graph makes its {FEATURES} of something that it calls {OUTPUTS!r}; give that another name"
        )
    steps: list[tuple[str, NDArray[Any]]] = [
        ("Sub", projection.mean),
        ("MatMul", projection.directions),
        ("Add", projection.offset),
    ]
    value = FEATURES
    for operation, weights in steps:
        last = operation == "Add" and not projection.wave
        before, value = value, OUTPUTS if last else f"head.{operation}"
        model.graph.initializer.append(numpy_helper.from_array(weights.astype(np.float32), f"head.{operation}.weights"))
        model.graph.node.append(helper.make_node(operation, [before, f"head.{operation}.weights"], [value]))
    if projection.wave:
        model.graph.node.append(helper.make_node("Cos", [value], [OUTPUTS]))
    outputs = onnx.ValueInfoProto()
    outputs.CopyFrom(features)
    outputs.name = OUTPUTS
    outputs.type.tensor_type.shape.dim[1].dim_value = projection.directions.shape[1]
    del model.graph.output[:]
    model.graph.output.extend([outputs, features])
    return bytes(model.SerializeToString())


def _features_of(graph: Any, projection: Projection) -> Any:
    """The output that the head goes on, copied; refused where it is not rows of float32 of the right width."""
    from onnx import TensorProto, ValueInfoProto

    given = {output.name: output for output in graph.output}
    if FEATURES not in given:
        raise TrainingError(
            f"the graph gives no {FEATURES!r}, only {', '.join(given) or 'nothing'}; export the backbone with an"
            " output of that name"
        )
    described = given[FEATURES].type.tensor_type
    sizes = [size.dim_value for size in described.shape.dim]
    width = len(projection.mean)
    if described.elem_type != TensorProto.FLOAT or len(sizes) != 2 or sizes[1] != width:
        raise TrainingError(
            f"the graph's {FEATURES} are {TensorProto.DataType.Name(described.elem_type)} {sizes}, the hasher was"
            f" fitted on FLOAT rows of {width}; fit it on features of this model"
        )
    copied = ValueInfoProto()
    copied.CopyFrom(given[FEATURES])
    return copied


def _cut_behind(graph: Any, wanted: str) -> set[str]:
    """Take away all that `wanted` is not made of; returns the names of what is left."""
    used = {wanted}
    for at in reversed(range(len(graph.node))):  # ONNX keeps nodes in the order of their making
        if used.intersection(graph.node[at].output):
            used.update(_taken_by(graph.node[at]))
        else:
            del graph.node[at]
    names = used.union(*(node.output for node in graph.node))
    for entries in (graph.initializer, graph.value_info):
        for at in reversed(range(len(entries))):
            if entries[at].name not in names:
                del entries[at]
    return names


def _taken_by(node: Any) -> Iterator[str]:
    """What a node reads; the branches and loops inside it read names of the graph around them too."""
    yield from node.input
    for attribute in node.attribute:
        for inner in (*attribute.graphs, attribute.g):
            for step in inner.node:
                yield from _taken_by(step)


def _check_parity(made: Bundle, projection: Projection, pictures: NDArray[np.uint8]) -> None:
    """Every output is the hasher's but for rounding; so a bit differs only where the output is that near to zero."""
    if not len(pictures):
        raise TrainingError("the new model is checked on pictures, and there are none; give a few dozen of any")
    found, features = Encoder(made).outputs_and_features(pictures)
    expected = projection.outputs(features)
    # A sum of n products rounds by at most n times the spacing of its numbers, taken as if all signs were the same.
    reach = np.abs(features - projection.mean) @ np.abs(projection.directions) + np.abs(projection.offset)
    rounding = (len(projection.mean) + 4) * np.finfo(np.float32).eps * (reach + projection.wave)
    wrong = ~(np.abs(found - expected) <= rounding)
    if wrong.any():
        raise TrainingError(
            f"the graph of {made.name!r} does not compute what its hasher does: {int(wrong.sum())} of {wrong.size}"
            f" outputs differ by more than rounding, the most by {float(np.abs(found - expected).max()):.3g}"
        )
