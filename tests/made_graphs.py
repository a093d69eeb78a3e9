"""ONNX graphs written byte by byte, the bad ones too: no library would write those, and none is needed."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from hashgrain import Grains
from hashgrain.models import Bundle

SIDE = 4
FLOAT, UINT8, INT64 = 1, 2, 7


def varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def number(field: int, value: int) -> bytes:
    return varint(field << 3) + varint(value)


def inner(field: int, content: bytes | str) -> bytes:
    data = content.encode() if isinstance(content, str) else content
    return varint(field << 3 | 2) + varint(len(data)) + data


def tensor(name: str, kind: int, shape: Sequence[int], raw: bytes | None = None, extra: bytes = b"") -> bytes:
    dims = b"".join(number(1, size) for size in shape)
    return dims + number(2, kind) + inner(8, name) + (b"" if raw is None else inner(9, raw)) + extra


def integers(name: str, *values: int) -> bytes:
    return tensor(name, INT64, [len(values)], struct.pack(f"<{len(values)}q", *values))


def floats(name: str, *values: float) -> bytes:
    return tensor(name, FLOAT, [len(values)], struct.pack(f"<{len(values)}f", *values))


def elsewhere(name: str, shape: Sequence[int], location: str) -> bytes:
    """A tensor whose bytes are in another file."""
    return tensor(name, FLOAT, shape, extra=inner(13, inner(1, "location") + inner(2, location)) + number(14, 1))


def sparse(values: bytes, shape: Sequence[int]) -> bytes:
    return inner(1, values) + inner(2, integers("", *range(shape[0]))) + b"".join(number(3, size) for size in shape)


def attribute(name: str, content: bytes, kind: int) -> bytes:
    return inner(1, name) + content + number(20, kind)


def whole(name: str, value: int) -> bytes:
    return attribute(name, number(3, value), 2)


def node(
    operator: str, takes: Sequence[str], gives: Sequence[str], attributes: Sequence[bytes] = (), domain: str = ""
) -> bytes:
    return (
        b"".join(inner(1, name) for name in takes)
        + b"".join(inner(2, name) for name in gives)
        + inner(4, operator)
        + b"".join(inner(5, each) for each in attributes)
        + (inner(7, domain) if domain else b"")
    )


def value(name: str, kind: int, shape: Sequence[int | str]) -> bytes:
    dims = [inner(1, number(1, size) if isinstance(size, int) else inner(2, size)) for size in shape]
    return inner(1, name) + inner(2, inner(1, number(1, kind) + inner(2, b"".join(dims))))


def graph(nodes: Sequence[bytes], tensors: Sequence[bytes], gives: Sequence[bytes], extra: bytes = b"") -> bytes:
    return (
        b"".join(inner(1, each) for each in nodes)
        + inner(2, "made")
        + b"".join(inner(5, each) for each in tensors)
        + inner(11, value("pixels", UINT8, ["batch", SIDE, SIDE, 3]))
        + b"".join(inner(12, each) for each in gives)
        + extra
    )


def model(made: bytes, extra: bytes = b"", opset: int = 18) -> bytes:
    return number(1, 9) + inner(7, made) + inner(8, inner(1, "") + number(2, opset)) + extra


MEAN = [
    node("Cast", ["pixels"], ["floats"], [whole("to", FLOAT)]),
    node("ReduceMean", ["floats", "axes"], ["colors"], [whole("keepdims", 0)]),
]
ENDS = [node("Identity", ["result"], ["outputs"]), node("Identity", ["result"], ["features"])]
GIVES = [value("outputs", FLOAT, ["batch", 3]), value("features", FLOAT, ["batch", 3])]
AXES = integers("axes", 1, 2)


def with_step(
    *steps: bytes, tensors: Sequence[bytes] = (), extra: bytes = b"", around: bytes = b"", opset: int = 18
) -> bytes:
    """The mean color of a picture, the steps that make `result` of `colors`, and two outputs of it."""
    return model(graph([*MEAN, *steps, *ENDS], [AXES, *tensors], GIVES, extra), around, opset)


def plain_graph() -> bytes:
    return with_step(node("Identity", ["colors"], ["result"]))


def bundle_of(onnx: bytes, name: str = "made") -> Bundle:
    return Bundle(name, onnx, Grains(look=3), (SIDE, SIDE))
