"""The graph of EfficientNet-Lite with our head, and the same graph with the weights of the backbone cut out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper

from hashgrain.learn.photo.builder import FLOAT, HALF, GraphBuilder
from hashgrain.learn.photo.layout import WIDTH, layout
from hashgrain.learn.photo.torch_file import tensors_of
from hashgrain.models.weights import WeightsFile

OPSET, IR_VERSION = 17, 8
STRIDES = (1, 2, 2, 2, 1, 2, 1)  # of the first block of each stage


def normalized_pixels(b: GraphBuilder) -> str:
    """(n, height, width, 3) bytes to (n, 3, height, width) between -1 and 1."""
    planes = b.node("Transpose", ["pixels"], "planes", perm=[0, 3, 1, 2])
    floats = b.node("Cast", [planes], "floats", to=TensorProto.FLOAT)
    scaled = b.node("Mul", [floats, b.constant("scale", np.float32(1 / 127.5))], "scaled")
    return b.node("Sub", [scaled, b.constant("one", np.float32(1))], "normalized")


def convolution(b: GraphBuilder, inputs: str, name: str, norm: str, stride: int, clipped: bool, dtype: str) -> str:
    """A convolution with folded batch normalization; `clipped` to [0, 6] unless it is the last of a block."""
    shape = b.records[f"{name}.weight"].shape
    scale = {"gamma": f"{norm}.weight", "variance": f"{norm}.running_var"}
    weight = b.pretrained(f"{name}.w", "weight", dtype, weight=f"{name}.weight", **scale)
    bias = b.pretrained(f"{name}.b", "bias", FLOAT, beta=f"{norm}.bias", mean=f"{norm}.running_mean", **scale)
    out = b.node(
        "Conv",
        [inputs, weight, bias],
        f"{name}.out",
        auto_pad="SAME_UPPER",  # as TensorFlow pads, at any size of the picture
        group=shape[0] if "depthwise" in name else 1,
        kernel_shape=list(shape[2:]),
        strides=[stride, stride],
    )
    return b.node("Clip", [out, "zero", "six"], f"{name}.act") if clipped else out


def backbone(b: GraphBuilder, dtype: str) -> str:
    """The network up to the feature map: (n, 1280, height / 32, width / 32)."""
    b.constant("zero", np.float32(0))
    b.constant("six", np.float32(6))
    x = convolution(b, normalized_pixels(b), "_conv_stem", "_bn0", 2, True, dtype)
    width, stage, block = b.records["_conv_stem.weight"].shape[0], -1, 0
    last = 0
    while f"_blocks.{block}._project_conv.weight" in b.records:
        name = f"_blocks.{block}"
        out = b.records[f"{name}._project_conv.weight"].shape[0]
        first = out != last
        stage += first
        stride = STRIDES[stage] if first else 1
        y = x
        if f"{name}._expand_conv.weight" in b.records:
            y = convolution(b, y, f"{name}._expand_conv", f"{name}._bn0", 1, True, dtype)
        y = convolution(b, y, f"{name}._depthwise_conv", f"{name}._bn1", stride, True, dtype)
        y = convolution(b, y, f"{name}._project_conv", f"{name}._bn2", 1, False, dtype)
        x = b.node("Add", [x, y], f"{name}.sum") if stride == 1 and out == width else y
        width, last, block = out, out, block + 1
    return convolution(b, x, "_conv_head", "_bn1", 1, True, dtype)


def features(b: GraphBuilder, dtype: str) -> str:
    """The mean of the map over the picture: `map` and `features` are outputs of the graph."""
    cells = b.node("Identity", [backbone(b, dtype)], "map")
    mean = b.node("GlobalAveragePool", [cells], "mean")
    return b.node("Flatten", [mean], "features", axis=1)


def model_of(b: GraphBuilder, outputs: Mapping[str, list[int | str]]) -> Any:
    pixels = helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["batch", "height", "width", 3])
    declared = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs.items()]
    graph = helper.make_graph(b.nodes, "photo", [pixels], declared, b.numbers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="hashgrain")
    model.ir_version = IR_VERSION
    return model


def backbone_model(weights: bytes, dtype: str = FLOAT) -> bytes:
    """The pretrained network alone, to compute features of training pictures with."""
    b = GraphBuilder(weights, {each.name: each for each in tensors_of(weights)})
    features(b, dtype)
    width = b.records["_fc.weight"].shape[1]
    shapes: dict[str, list[int | str]] = {"features": ["batch", width], "map": ["batch", width, "rows", "columns"]}
    return bytes(model_of(b, shapes).SerializeToString())


def layout_model() -> bytes:
    """The layout alone, as `features`, to compute the layouts of training pictures."""
    b = GraphBuilder(b"", {})
    b.node("Identity", [layout(b, normalized_pixels(b))], "features")
    return bytes(model_of(b, {"features": ["batch", WIDTH]}).SerializeToString())


def cut(model: bytes, b: GraphBuilder, file: WeightsFile) -> tuple[bytes, str]:
    """Our part of the graph, and the JSON that describes how to restore the rest."""
    pieces: list[bytes] = []
    holes = []
    at = length = 0
    for number in b.numbers:
        if number.name not in b.holes:
            continue
        place = model.index(number.raw_data, at)
        pieces.append(model[at:place])
        length += place - at
        at = place + len(number.raw_data)
        kind, dtype, records = b.holes[number.name]
        holes.append([length, kind, dtype, records])
    part = b"".join([*pieces, model[at:]])
    return part, json.dumps({"weights": asdict(file), "holes": holes}, separators=(",", ":")) + "\n"


@dataclass(frozen=True)
class HeadNumbers:
    """The parameters of the head."""

    mean: NDArray[np.float32]  # of the roots of the features
    kinds: NDArray[np.float32]  # (1000, 256), as in head.Classifier
    looks: NDArray[np.float32]
    directions: NDArray[np.float32]
    weight: NDArray[np.float32]  # (bits, inputs), of the bits that use the backbone
    bias: NDArray[np.float32]
    layout_weight: NDArray[np.float32]  # (bits, layout.WIDTH), of the others
    layout_bias: NDArray[np.float32]


def head(b: GraphBuilder, numbers: HeadNumbers) -> None:
    """From `features` to `outputs`: head.inputs_of as a graph with a linear layer, and a linear layer of the layout."""
    logits = b.node(
        "Gemm",
        [
            "features",
            b.pretrained("classifier.w", "tensor", HALF, tensor="_fc.weight"),
            b.pretrained("classifier.b", "tensor", FLOAT, tensor="_fc.bias"),
        ],
        "logits",
        transB=1,
    )
    b.constant("tiny", np.float32(1e-9))
    root = b.node("Sub", [b.node("Sqrt", ["features"], "root"), b.constant("mean.root", numbers.mean)], "root.centered")
    probabilities = b.node("Softmax", [logits], "chances", axis=1)
    cooled = b.node("Mul", [logits, b.constant("half", np.float32(0.5))], "logits.cooled")
    probabilities_cooled = b.node("Softmax", [cooled], "chances.cooled", axis=1)
    embedded = {
        "kinds": b.node("MatMul", [probabilities, b.constant("kinds", numbers.kinds, HALF)], "of.kinds"),
        "looks": b.node("MatMul", [probabilities_cooled, b.constant("looks", numbers.looks, HALF)], "of.looks"),
        "directions": b.node("MatMul", [logits, b.constant("directions", numbers.directions, HALF)], "of.directions"),
    }
    parts = [_unit(b, name, "inputs." + name) for name in (root, *embedded.values())]
    inputs = b.node("Concat", parts, "inputs", axis=1)
    weight = b.constant("head.w", numbers.weight, HALF)
    seen = b.node("Gemm", [inputs, weight, b.constant("head.b", numbers.bias)], "outputs.seen", transB=1)
    laid = b.constant("layout.w", numbers.layout_weight), b.constant("layout.b", numbers.layout_bias)
    placed = b.node("Gemm", [layout(b, "normalized"), *laid], "outputs.placed", transB=1)
    b.node("Concat", [seen, placed], "outputs", axis=1)


def _unit(b: GraphBuilder, name: str, output: str) -> str:
    length = b.node("ReduceL2", [name], f"{output}.length", axes=[1], keepdims=1)
    return b.node("Div", [name, b.node("Add", [length, "tiny"], f"{output}.long")], output)


def photo_model(weights: bytes, numbers: HeadNumbers) -> tuple[bytes, GraphBuilder]:
    """The whole graph, and its builder."""
    b = GraphBuilder(weights, {each.name: each for each in tensors_of(weights)})
    features(b, HALF)
    head(b, numbers)
    width, bits = b.records["_fc.weight"].shape[1], len(numbers.bias) + len(numbers.layout_bias)
    shapes: dict[str, list[int | str]] = {
        "outputs": ["batch", bits],
        "features": ["batch", width],
        "map": ["batch", width, "rows", "columns"],
    }
    return bytes(model_of(b, shapes).SerializeToString()), b
