"""The part of a graph behind its features, as a graph of its own: what turns pooled features into outputs.

The whole network runs once for a picture; each of its parts then needs only the last few operations, with features
that are averaged over the part. Where the outputs also depend on the pixels themselves (a layout of colors, say), the
new graph takes `pixels` too: those of the part. Only bytes are copied, so that it takes no package but ONNX Runtime.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from hashgrain.errors import BundleError
from hashgrain.models.graph_check import FLOAT, GRAPH, MODEL, NODE, PIXELS, TENSOR, VALUE
from hashgrain.models.protobuf import BYTES, VARINT, Message, Reader, WireError

FEATURES, OUTPUTS = "features", "outputs"


def behind_features(graph: bytes, width: int) -> bytes:
    """The graph from `features` (n, width), and `pixels` where they are needed, to `outputs`."""
    reader = Reader()
    try:
        model = reader.read(memoryview(graph), MODEL)
        whole = reader.read(model.part(7), GRAPH)
        nodes = _needed(reader, whole)
        takes = {name for node in nodes for name in reader.read(node, NODE).texts(1)}
        tensors = [part for part in whole.parts(5) if reader.read(part, TENSOR).text(8) in takes]
        inputs = [part for part in whole.parts(11) if reader.read(part, VALUE).text(1) == PIXELS and PIXELS in takes]
        outputs = [part for part in whole.parts(12) if reader.read(part, VALUE).text(1) == OUTPUTS]
    except WireError as error:
        raise BundleError(f"the graph is not an ONNX model, or damaged: it {error}") from None
    if FEATURES not in takes:
        raise BundleError("the outputs of this model are not computed from its features, so that parts have no codes")
    cut = b"".join(
        (
            _fields(1, nodes),
            _field(2, b"head"),
            _fields(5, tensors),
            _field(11, _matrix(FEATURES, width)),
            _fields(11, inputs),
            _fields(12, outputs),
        )
    )
    return _version(model) + _field(7, cut) + _fields(8, model.parts(8))


def _needed(reader: Reader, graph: Message) -> list[memoryview]:
    """The nodes that the outputs are computed by, from the features on, in their order."""
    wanted, kept = {OUTPUTS}, []
    for part in reversed(graph.parts(1)):
        node = reader.read(part, NODE)
        gives = set(node.texts(2))
        if wanted.isdisjoint(gives) or FEATURES in gives:
            continue
        wanted.update(node.texts(1))
        kept.append(part)
    return kept[::-1]


def _version(model: Message) -> bytes:
    return _tag(1, VARINT) + _varint(model.number(1))


def _matrix(name: str, width: int) -> bytes:
    """ValueInfoProto of float rows: a batch of any length, each `width` numbers."""
    rows, columns = _field(2, b"batch"), _tag(1, VARINT) + _varint(width)
    shape = _field(1, rows) + _field(1, columns)
    tensor = _tag(1, VARINT) + _varint(FLOAT) + _field(2, shape)
    return _field(1, name.encode()) + _field(2, _field(1, tensor))


def _fields(number: int, values: Iterable[bytes | memoryview]) -> bytes:
    return b"".join(_each(number, values))


def _each(number: int, values: Iterable[bytes | memoryview]) -> Iterator[bytes]:
    for value in values:
        yield _field(number, value)


def _field(number: int, value: bytes | memoryview) -> bytes:
    return _tag(number, BYTES) + _varint(len(value)) + bytes(value)


def _tag(number: int, wire: int) -> bytes:
    return _varint(number << 3 | wire)


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 127:
        encoded.append(value & 127 | 128)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
