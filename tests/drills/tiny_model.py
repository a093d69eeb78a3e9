"""A model of 40 kB: two matrices behind a cast, written as protobuf by hand, so that no trial waits for a network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hashgrain.codes import Grains
from hashgrain.models import Bundle, Threshold

EDGE, FEATURES, BITS = 8, 24, 128
FLOAT, UINT8, INT64 = 1, 2, 7  # ONNX's numbers of types
Value = int | bytes | str | list["Field"]
Field = tuple[int, Value]


def varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def message(fields: Sequence[Field]) -> bytes:
    """Fields as protobuf: numbers as varints, texts, bytes and messages with their length before them."""
    out = b""
    for tag, value in fields:
        if isinstance(value, int):
            out += varint(tag << 3) + varint(value)
        else:
            data = value.encode() if isinstance(value, str) else message(value) if isinstance(value, list) else value
            out += varint(tag << 3 | 2) + varint(len(data)) + data
    return out


def tensor(name: str, array: NDArray[np.float32] | NDArray[np.int64]) -> list[Field]:
    kind = INT64 if array.dtype == np.int64 else FLOAT
    return [*((1, size) for size in array.shape), (2, kind), (8, name), (9, array.tobytes())]


def node(operator: str, inputs: Sequence[str], output: str, attributes: Sequence[list[Field]] = ()) -> list[Field]:
    return [
        *((1, name) for name in inputs),
        (2, output),
        (3, output + "_node"),
        (4, operator),
        *((5, each) for each in attributes),
    ]


def value(name: str, kind: int, shape: Sequence[int | str]) -> list[Field]:
    sizes: list[Field] = [(1, [(1, size) if isinstance(size, int) else (2, size)]) for size in shape]
    return [(1, name), (2, [(1, [(1, kind), (2, sizes)])])]


def model(graph: list[Field], opset: int = 17, version: int = 8) -> list[Field]:
    return [(1, version), (2, "drill"), (7, graph), (8, [(1, ""), (2, opset)])]


def graph_fields(seed: int) -> list[Field]:
    draw = np.random.default_rng(seed)
    wide = EDGE * EDGE * 3
    first = draw.standard_normal((wide, FEATURES)).astype(np.float32)
    second = draw.standard_normal((FEATURES, BITS)).astype(np.float32)
    return [
        (1, node("Cast", ["pixels"], "real", [[(1, "to"), (3, FLOAT), (20, 2)]])),
        (1, node("Sub", ["real", "gray"], "centered")),
        (1, node("Reshape", ["centered", "flat"], "row")),
        (1, node("MatMul", ["row", "first"], "features")),
        (1, node("MatMul", ["features", "second"], "outputs")),
        (2, "tiny"),
        (5, tensor("gray", np.full((1,), 128, np.float32))),
        (5, tensor("flat", np.array([-1, wide], np.int64))),
        (5, tensor("first", first)),
        (5, tensor("second", second)),
        (11, value("pixels", UINT8, ["n", EDGE, EDGE, 3])),
        (12, value("outputs", FLOAT, ["n", BITS])),
        (12, value("features", FLOAT, ["n", FEATURES])),
    ]


def bundle(seed: int = 1, onnx: bytes | None = None) -> Bundle:
    return Bundle(
        name=f"tiny-{seed}",
        onnx=message(model(graph_fields(seed))) if onnx is None else onnx,
        grains=Grains({"kind": 32, "thing": 64, "look": BITS}),
        size=(EDGE, EDGE),
        words={"same": Threshold("look", 16), "near": Threshold("thing", 11), "related": Threshold("kind", 8)},
        labels={"kind": {"bird": "111a56fb00000000"}},
        training={"seed": seed},
    )


def write_bundle(folder: Path, seed: int = 1) -> Path:
    bundle(seed).write(folder)
    return folder
