"""Appends a head that was fitted on features, such as ITQ, to the graph that computes the features.

No network is trained and no torch is needed: the head is three or four ONNX operations after the backbone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hashgrain.codes import Grains
from hashgrain.errors import TrainingError
from hashgrain.hashers import Hasher, Projection
from hashgrain.models import Bundle, Encoder

OUTPUTS, FEATURES, MAP = "outputs", "features", "map"


def with_hasher(
    bundle: Bundle,
    hasher: Hasher | Projection,
    grains: Grains,
    name: str,
    pictures: NDArray[np.uint8],
    *,
    dense: Sequence[Projection] = (),
) -> Bundle:
    """A new bundle: the backbone of `bundle`, with the hasher in place of its head.

    `bundle` may also hold the graph of a backbone alone, uint8 `pixels` in and `features` out. The new graph is checked
    on `pictures` (n, height, width, 3), any few dozen: it must give what the hasher gives, up to rounding. Words and
    labels stay empty, since those of the old codes would be wrong. `dense` are layers in between, each with a ReLU.
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
    backbone = {"name": bundle.name, "digest": bundle.code_digest, "training": dict(bundle.training)}
    made = Bundle(
        name,
        append_head(bundle.onnx, projection, dense),
        grains,
        bundle.size,
        training={"head": head, "backbone": backbone},
        fit=bundle.fit,
        parts=bundle.parts,
        license=bundle.license,
        provenance=bundle.provenance,
    )
    _check_parity(made, [*dense, projection], pictures)
    return made


def append_head(graph: bytes, projection: Projection, dense: Sequence[Projection] = (), *, unit: bool = False) -> bytes:
    """The graph up to `features`, followed by `outputs` = (features - mean) @ directions + offset, or its cosine.

    An existing head is removed with its weights; a `map` stays. Each of the `dense` layers is affine with a ReLU. With
    `unit`, rows of features are normalized to length 1 after the first mean is subtracted.
    """
    try:
        import onnx
        from onnx import helper, numpy_helper
    except ImportError:
        raise TrainingError("writing graphs needs an extra: pip install 'hashgrain[train]'") from None
    try:
        model = onnx.load_from_string(graph)
    except Exception as error:  # a damaged file raises whatever its parser raises
        raise TrainingError(f"the graph is not ONNX ({type(error).__name__}); export the model again") from None
    features = _features_of(model.graph, [*dense, projection][0])
    maps = [output for output in model.graph.output if output.name == MAP]
    if OUTPUTS in cut_behind(model.graph, {FEATURES, *(output.name for output in maps)}):
        raise TrainingError(
            f"the graph computes its {FEATURES} from a value called {OUTPUTS!r}; give that another name"
        )
    value = FEATURES
    layers = [*dense, projection]
    for number, layer in enumerate(layers):
        last = number == len(layers) - 1
        for operation, weights in (("Sub", layer.mean), ("MatMul", layer.directions), ("Add", layer.offset)):
            weights_name = f"head{number}.{operation}.weights"
            model.graph.initializer.append(numpy_helper.from_array(weights.astype(np.float32), weights_name))
            ends = operation == "Add" and last and not layer.wave
            before, value = value, OUTPUTS if ends else f"head{number}.{operation}"
            model.graph.node.append(helper.make_node(operation, [before, weights_name], [value]))
            if unit and number == 0 and operation == "Sub":
                before, value = value, "head0.unit"
                model.graph.node.append(helper.make_node("LpNormalization", [before], [value], axis=1, p=2))
        if not last:
            before, value = value, f"head{number}.Relu"
            model.graph.node.append(helper.make_node("Relu", [before], [value]))
    if projection.wave:
        model.graph.node.append(helper.make_node("Cos", [value], [OUTPUTS]))
    outputs = onnx.ValueInfoProto()
    outputs.CopyFrom(features)
    outputs.name = OUTPUTS
    outputs.type.tensor_type.shape.dim[1].dim_value = projection.directions.shape[1]
    outputs_and_features = [outputs, features, *map(_copied, maps)]
    del model.graph.output[:]
    model.graph.output.extend(outputs_and_features)
    return bytes(model.SerializeToString())


@dataclass(frozen=True)
class Given:
    """The outputs of a graph that give features and map."""

    output: str
    width: int
    token: str = ""  # for tokens (n, count, width): "first" or "mean"; "" for rows, or a map, which is averaged
    cells: str = ""  # the output for `map`; "" if there is none
    before: int = 0  # tokens before those of the patches
    grid: tuple[int, int] | None = None  # rows and columns of patches; None if the output is a map already
    rank: int = 0  # of the output in a trial run; 0 to use the declared rank
    last: bool = False  # maps are (n, height, width, channels)


@dataclass(frozen=True)
class Planes:
    """The input of a graph that does not take bytes: (floats in 0..1 - mean) / std, (n, 3, height, width)."""

    mean: Sequence[float]
    std: Sequence[float]
    last: bool = False  # (n, height, width, 3) instead


def from_pixels(
    graph: bytes, taken: str, given: Given, size: tuple[int | str, int | str], planes: Planes | None
) -> bytes:
    """Any model's graph as a backbone of ours: uint8 `pixels` (n, height, width, 3) in, `features` out.

    `size` is (width, height); a name instead of a number makes an edge dynamic. Without `planes` the graph takes bytes.
    """
    import onnx
    from onnx import TensorProto, compose, helper

    model = compose.add_prefix(onnx.load_from_string(graph), "given.")
    del model.graph.value_info[:]
    ranks = {output.name: len(output.type.tensor_type.shape.dim) for output in model.graph.output}
    before, constants = _normalizing(planes) if planes else ([], [])
    before.append(helper.make_node("Identity", ["pixels.normal" if planes else "pixels"], [f"given.{taken}"]))
    after, more = _taking(given, given.rank or ranks[f"given.{given.output}"])
    whole = [*before, *model.graph.node, *after]
    del model.graph.node[:], model.graph.input[:], model.graph.output[:]
    model.graph.node.extend(whole)
    model.graph.initializer.extend([*constants, *more])
    model.graph.input.append(helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["batch", size[1], size[0], 3]))
    model.graph.output.append(helper.make_tensor_value_info(FEATURES, TensorProto.FLOAT, ["batch", given.width]))
    if given.cells:
        shape = ["batch", given.width, *(given.grid or ("rows", "columns"))]
        model.graph.output.append(helper.make_tensor_value_info(MAP, TensorProto.FLOAT, shape))
    cut_behind(model.graph, {output.name for output in model.graph.output})
    return bytes(model.SerializeToString())


def text_graph(graph: bytes, ids: str, mask: str | None, given: str, length: int, width: int) -> bytes:
    """Any text network's graph as one of ours: int64 `ids` (n, length) and, if it takes one, `mask` in, `features`
    out."""
    import onnx
    from onnx import TensorProto, compose, helper

    model = compose.add_prefix(onnx.load_from_string(graph), "given.")
    del model.graph.value_info[:]
    takes = {"ids": ids, **({"mask": mask} if mask else {})}
    before = [helper.make_node("Identity", [name], [f"given.{its}"]) for name, its in takes.items()]
    whole = [*before, *model.graph.node, helper.make_node("Identity", [f"given.{given}"], [FEATURES])]
    del model.graph.node[:], model.graph.input[:], model.graph.output[:]
    model.graph.node.extend(whole)
    model.graph.input.extend(
        helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", length]) for name in takes
    )
    model.graph.output.append(helper.make_tensor_value_info(FEATURES, TensorProto.FLOAT, ["batch", width]))
    cut_behind(model.graph, {FEATURES})
    return bytes(model.SerializeToString())


def without_features(graph: bytes) -> bytes:
    """The graph with `outputs` alone."""
    import onnx

    model = onnx.load_from_string(graph)
    outputs = [output for output in model.graph.output if output.name == OUTPUTS]
    del model.graph.output[:]
    model.graph.output.extend(map(_copied, outputs))
    return bytes(model.SerializeToString())


def _normalizing(planes: Planes) -> tuple[list[Any], list[Any]]:
    """From `pixels` to `pixels.normal`: nodes and constants."""
    from onnx import TensorProto, helper, numpy_helper

    shape = (1, 1, 1, 3) if planes.last else (1, 3, 1, 1)
    shift, scale = (np.array(each, np.float32).reshape(shape) for each in (planes.mean, planes.std))
    constants = {"pixels.most": np.float32(255), "pixels.mean": shift, "pixels.std": scale}
    nodes = [
        helper.make_node("Cast", ["pixels"], ["pixels.float"], to=TensorProto.FLOAT),
        helper.make_node("Div", ["pixels.float", "pixels.most"], ["pixels.unit"]),
        helper.make_node("Identity", ["pixels.unit"], ["pixels.planes"])
        if planes.last
        else helper.make_node("Transpose", ["pixels.unit"], ["pixels.planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Sub", ["pixels.planes", "pixels.mean"], ["pixels.centered"]),
        helper.make_node("Div", ["pixels.centered", "pixels.std"], ["pixels.normal"]),
    ]
    return nodes, [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()]


def _taking(given: Given, rank: int) -> tuple[list[Any], list[Any]]:
    """From the graph's outputs to `features` and `map`: nodes and constants."""
    from onnx import helper, numpy_helper

    value, numbers = f"given.{given.output}", {}
    nodes: list[Any] = []
    patches = f"given.{given.cells}"
    if given.last and rank == 4:
        nodes.append(helper.make_node("Transpose", [value], ["map.first"], perm=[0, 3, 1, 2]))
        value = "map.first"
    if given.last and given.cells and not given.grid:
        nodes.append(helper.make_node("Transpose", [patches], ["cells.first"], perm=[0, 3, 1, 2]))
        patches = "cells.first"
    if given.before or given.token == "first":
        numbers = {
            f"tokens.{name}": np.array([number])
            for name, number in (("first", 0), ("patches", given.before), ("end", 1 << 30), ("axis", 1))
        }
    if given.before and (given.cells or given.token == "mean"):
        source = patches if given.cells else value
        nodes.append(helper.make_node("Slice", [source, "tokens.patches", "tokens.end", "tokens.axis"], ["patches"]))
        patches = "patches"
    if given.token == "first":
        nodes.append(helper.make_node("Gather", [value, "tokens.first"], ["token"], axis=1))
        nodes.append(helper.make_node("Flatten", ["token"], ["features.flat"]))
        value = "features.flat"
    elif given.token == "mean":
        tokens = "patches" if given.before else value
        nodes.append(helper.make_node("Transpose", [tokens], ["tokens.last"], perm=[0, 2, 1]))
        nodes.append(helper.make_node("GlobalAveragePool", ["tokens.last"], ["pooled"]))
        nodes.append(helper.make_node("Flatten", ["pooled"], ["pooled.flat"]))
        value = "pooled.flat"
    elif rank == 4:
        nodes.append(helper.make_node("GlobalAveragePool", [value], ["pooled"]))
        nodes.append(helper.make_node("Flatten", ["pooled"], ["pooled.flat"]))
        value = "pooled.flat"
    nodes.append(helper.make_node("Identity", [value], [FEATURES]))
    if given.cells and given.grid:
        numbers["grid"] = np.array([0, given.width, *given.grid])
        nodes.append(helper.make_node("Transpose", [patches], ["patches.last"], perm=[0, 2, 1]))
        nodes.append(helper.make_node("Reshape", ["patches.last", "grid"], [MAP]))
    elif given.cells:
        nodes.append(helper.make_node("Identity", [patches], [MAP]))
    return nodes, [numpy_helper.from_array(array.astype(np.int64), name) for name, array in numbers.items()]


def _features_of(graph: Any, projection: Projection) -> Any:
    """A copy of the declared input of the head; an error if it is not rows of float32 of the right width."""
    from onnx import TensorProto

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
    return _copied(given[FEATURES])


def _copied(value: Any) -> Any:
    from onnx import ValueInfoProto

    copied = ValueInfoProto()
    copied.CopyFrom(value)
    return copied


def cut_behind(graph: Any, wanted: set[str]) -> set[str]:
    """Remove everything that the `wanted` values do not depend on. Returns the names of what is left."""
    used = set(wanted)
    for at in reversed(range(len(graph.node))):  # nodes of ONNX graphs are in topological order
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
    """The names that a node reads, including those that its branches and loops read from the outer graph."""
    yield from node.input
    for attribute in node.attribute:
        for inner in (*attribute.graphs, attribute.g):
            for step in inner.node:
                yield from _taken_by(step)


def _check_parity(made: Bundle, layers: Sequence[Projection], pictures: NDArray[np.uint8]) -> None:
    """Check that every output is the hasher's up to rounding, so that a bit differs only where the output is near 0."""
    if not len(pictures):
        raise TrainingError("the new model is checked on pictures, and there are none; give a few dozen of any")
    outputs, features = Encoder(made).outputs_and_features(pictures)
    eps = np.finfo(np.float32).eps
    expected, rounding = np.asarray(features, np.float64), np.zeros(features.shape)
    for number, layer in enumerate(layers):
        # The rounding error of a sum of n products is at most n eps times the sum of absolute values; the error of the
        # layer before propagates.
        reach = np.abs(expected - layer.mean) @ np.abs(layer.directions) + np.abs(layer.offset)
        rounding = rounding @ np.abs(layer.directions) + (len(layer.mean) + 4) * eps * (reach + layer.wave)
        values = (expected - layer.mean) @ layer.directions + layer.offset  # in double precision, unlike layer.outputs
        expected = np.cos(values) if layer.wave else values
        if number < len(layers) - 1:
            expected = np.maximum(expected, 0)
    wrong = ~(np.abs(outputs - expected) <= rounding)
    if wrong.any():
        raise TrainingError(
            f"the graph of {made.name!r} does not compute what its hasher does: {int(wrong.sum())} of {wrong.size}"
            f" outputs differ by more than rounding, the most by {float(np.abs(outputs - expected).max()):.3g}"
        )
