"""Checking what a graph holds, from its bytes, before anything else reads them.

A graph of a stranger is data for a large C++ program. Three things in it would do more than compute on inputs, and
none of them is in what we write, so they are refused: data outside the file (`external_data`, read from wherever it
names), operators of other domains (code of plug-ins; some read files), and control flow (`If`, `Loop`, `Scan`: time
without bound). Local functions and training graphs could hold the same, and are refused whole.

One more rule makes a trial worth something (see trial.py): **every size in a graph follows from the number of pictures
alone**, or, in a text graph, from that of the tokens. Operators whose result has as many rows as the pixels say
(`NonZero`, `Unique`, `Compress`) are not on the list, and inputs that decide a shape (of `Reshape`, `Expand`, `Range`
...) must not be computed from pixels. So what was within its limits for a batch is within them for every batch of that
size, whatever the pictures.
"""

from __future__ import annotations

import math

from hashgrain.errors import BundleError
from hashgrain.models.protobuf import Message, Reader, Schema, WireError

MAX_NODES = 20_000
MAX_TENSORS = 50_000
MAX_RANK = 16
MAX_NAME = 1024
MAX_FEATURES = 65_536  # width of the features under the head
MAX_DIMENSION = 1 << 40
OPSETS = range(7, 40)
FLOAT, UINT8, STRING = 1, 2, 8
PIXELS, IDS = "pixels", "ids"  # what the graph of pictures and that of phrases take
# Bytes of an element, by TensorProto.DataType; strings, complex numbers and what is smaller than a byte are not here.
ITEM_BYTES = {1: 4, 2: 1, 3: 1, 4: 2, 5: 2, 6: 4, 7: 8, 9: 1, 10: 2, 11: 8, 12: 4, 13: 8, 16: 2}


def _schema(fields: str) -> Schema:
    """From the numbers of the fields and their kinds."""
    return {int(each[:-1]): each[-1] for each in fields.split()}  # type: ignore[misc]


# The fields of onnx.proto, by message.
MODEL = _schema("1v 2b 3b 4b 5v 6b 7b 8B 14B 20B 25B 26B")
GRAPH = _schema("1B 2b 5B 10b 11B 12B 13B 14B 15B 16B")
NODE = _schema("1B 2B 3b 4b 5B 6b 7b 8b 9B 10B")
ATTRIBUTE = _schema("1b 2f 3v 4b 5b 6b 7F 8V 9B 10B 11B 13b 14b 15B 20v 21b 22b 23B")
TENSOR = _schema("1V 2v 3b 4F 5V 6B 7V 8b 9b 10D 11V 12b 13B 14v 16B")
VALUE = _schema("1b 2b 3b 4B")
TYPE = _schema("1b 4b 5b 6b 7b 8b 9b")
TENSOR_TYPE = _schema("1v 2b")
SHAPE = _schema("1B")
DIMENSION = _schema("1v 2b 3b")
OPSET = _schema("1b 2v")

# What may be computed: operators whose result has a shape that follows from the shapes of what they take ...
_PLAIN = """
    Abs Acos Acosh Add And ArgMax ArgMin Asin Asinh Atan Atanh Attention AveragePool BatchNormalization BitShift
    BitwiseAnd BitwiseNot BitwiseOr BitwiseXor Cast CastLike Ceil Celu Clip Concat Constant Conv ConvInteger
    ConvTranspose Cos Cosh CumSum DepthToSpace DequantizeLinear Div Dropout DynamicQuantizeLinear Einsum Elu Equal Erf
    Exp EyeLike Flatten Floor Gather GatherElements GatherND Gelu Gemm GlobalAveragePool GlobalLpPool GlobalMaxPool
    Greater GreaterOrEqual GridSample GroupNormalization HardSigmoid HardSwish Hardmax Identity InstanceNormalization
    IsInf IsNaN LRN LayerNormalization LeakyRelu Less LessOrEqual Log LogSoftmax LpNormalization LpPool MatMul
    MatMulInteger Max MaxPool Mean MeanVarianceNormalization Min Mish Mod Mul Neg Not Or PRelu Pow QLinearConv
    QLinearMatMul QuantizeLinear RMSNormalization Reciprocal Relu RotaryEmbedding Round ScatterElements ScatterND Selu
    Shape Sigmoid Sign Sin Sinh Size Softmax Softplus Softsign SpaceToDepth Sqrt Sub Sum Swish Tan Tanh ThresholdedRelu
    Transpose Trilu Where Xor
"""
# ... and those where some inputs, by their places, decide it too: these must not come from inputs.
_SHAPED = """
    CenterCropPad:1 ConstantOfShape:0 Expand:1 OneHot:1 Pad:1,3 Range:0,1,2 Reshape:1 Resize:1,2,3 Slice:1,2,3,4 Split:1
    Squeeze:1 Tile:1,2 TopK:1 Unsqueeze:1 Upsample:1 ReduceL1:1 ReduceL2:1 ReduceLogSum:1 ReduceLogSumExp:1 ReduceMax:1
    ReduceMean:1 ReduceMin:1 ReduceProd:1 ReduceSum:1 ReduceSumSquare:1
"""
PLAIN = frozenset(_PLAIN.split())
SHAPED_BY = {
    operator: tuple(map(int, places.split(",")))
    for operator, _, places in (each.partition(":") for each in _SHAPED.split())
}
# What a detector needs besides: its result has as many rows as there are things to see.
OF_ANY_SIZE = frozenset({"Compress", "MaxRoiPool", "NonMaxSuppression", "NonZero", "RoiAlign", "Unique"})
FLOW = frozenset({"If", "Loop", "Scan", "SequenceMap"})
FORGETS_INPUTS = frozenset({"Shape", "Size"})


class _RefusedError(Exception):
    pass


def check_graph(
    graph: bytes, what: str, *, bits: int | None = None, takes: str = PIXELS, any_sizes: bool = False
) -> None:
    """Refuse, by a BundleError that starts with `what`, a graph that does more than compute on what it takes.

    With `bits`, it must also be the graph of a bundle: `pixels` in, `outputs` of so many bits and `features` out; or,
    where it takes `ids`, these in and `outputs` out. With `any_sizes`, sizes may depend on the pixels: a detector gives
    as many boxes as there are things.
    """
    if graph[4:8] == b"ORTM":  # the runtime's own format, which it tells by these bytes and nothing here can read
        raise BundleError(f"{what} is refused: it is in ONNX Runtime's own format; export it as plain ONNX")
    try:
        _Check(graph, takes, any_sizes).model(bits)
    except _RefusedError as error:
        raise BundleError(
            f"{what} is refused: {error}. Export the model again, with HashGrain or as plain ONNX"
        ) from None
    except WireError as error:
        raise BundleError(f"{what} is not an ONNX model, or damaged: it {error}") from None


def outputs_of(graph: bytes) -> set[str]:
    """The names of its outputs; none of a graph that is no ONNX, or damaged."""
    reader = Reader()
    try:
        parts = reader.read(reader.read(memoryview(graph), MODEL).part(7), GRAPH).parts(12)
        return {reader.read(part, VALUE).text(1) for part in parts}
    except WireError:
        return set()


class _Check:
    def __init__(self, graph: bytes, takes: str, any_sizes: bool) -> None:
        self.data = memoryview(graph)
        self.takes = takes  # its first input
        self.any_sizes = any_sizes
        self.reader = Reader()
        self.tensors = 0
        self.made: set[str] = set()  # names of values that exist so far
        self.of_inputs: set[str] = set()  # those whose values depend on pixels, or ids

    def model(self, bits: int | None) -> None:
        model = self.reader.read(self.data, MODEL)
        if 25 in model or 20 in model:
            raise _RefusedError(f"it has {'functions' if 25 in model else 'training steps'} of its own")
        if 7 not in model:
            raise WireError("holds no graph")
        opsets = [self.reader.read(part, OPSET) for part in model.parts(8)]
        for opset in opsets:
            domain, version = opset.text(1), opset.number(2)
            if domain in ("", "ai.onnx") and version not in OPSETS:
                raise _RefusedError(f"it is written for version {version} of the ONNX operators")
        graph = self.reader.read(model.part(7), GRAPH)
        if 15 in graph:
            raise _RefusedError("it has sparse tensors")
        if len(graph.parts(1)) > MAX_NODES:
            raise _RefusedError(f"it has more than {MAX_NODES:,} nodes")
        for part in graph.parts(5):
            self.made.add(self.tensor(part, "the tensor"))
        for part in graph.parts(11):
            name, _, _ = self.value(part)
            if name not in self.made:  # a tensor may be listed among the inputs too
                self.made.add(name)
                self.of_inputs.add(name)
        for number, part in enumerate(graph.parts(1)):
            self.node(part, number)
        for part in graph.parts(13):
            self.value(part)
        self.outputs(graph, bits)

    def node(self, part: memoryview, number: int) -> None:
        node = self.reader.read(part, NODE)
        operator, domain = node.text(4), node.text(7)
        where = f"node {number} ({_shown(operator)})"
        if domain not in ("", "ai.onnx"):
            raise _RefusedError(f"{where} is of the domain {_shown(domain)}; only plain ONNX operators are run")
        if operator in FLOW:
            raise _RefusedError(f"{where} is control flow, which may run without end")
        sized_by_pixels = self.any_sizes and operator in OF_ANY_SIZE
        if operator not in PLAIN and operator not in SHAPED_BY and not sized_by_pixels:
            raise _RefusedError(f"{where} is not among the operators that a model may use")
        for attribute in node.parts(5):
            self.attribute(attribute, operator, where)
        takes, gives = node.texts(1), node.texts(2)
        missing = [name for name in takes if name and name not in self.made]
        if missing:
            raise _RefusedError(f"{where} takes {_shown(missing[0])} before anything gives it")
        for place in SHAPED_BY.get(operator, ()):
            if place < len(takes) and takes[place] in self.of_inputs and not self.any_sizes:
                raise _RefusedError(
                    f"{where} has a result whose size depends on the {self.takes} ({_shown(takes[place])})"
                )
        for name in filter(None, gives):
            if name in self.made:
                raise _RefusedError(f"{where} gives {_shown(name)}, which exists already")
            self.made.add(name)
        if operator not in FORGETS_INPUTS and not self.of_inputs.isdisjoint(takes):
            self.of_inputs.update(filter(None, gives))

    def attribute(self, part: memoryview, operator: str, where: str) -> None:
        attribute = self.reader.read(part, ATTRIBUTE)
        where = f"attribute {_shown(attribute.text(1))} of {where}"
        if 6 in attribute or 11 in attribute:
            raise _RefusedError(f"{where} is a graph of its own")
        if 22 in attribute or 23 in attribute:
            raise _RefusedError(f"{where} is a sparse tensor")
        if 14 in attribute or 15 in attribute or 21 in attribute:
            raise _RefusedError(f"{where} is a type or refers to another")
        for tensor in (*attribute.parts(5), *attribute.parts(10)):
            self.tensor(tensor, f"the tensor in {where}")
        if operator in ("Cast", "CastLike") and attribute.number(3) == STRING:
            raise _RefusedError(f"{where} makes text of numbers")

    def tensor(self, part: memoryview, where: str) -> str:
        """Its bytes are here, and as many as its shape says: no tensor is larger than the file that holds it."""
        self.tensors += 1
        if self.tensors > MAX_TENSORS:
            raise _RefusedError(f"it has more than {MAX_TENSORS:,} tensors")
        tensor = self.reader.read(part, TENSOR)
        name = _checked_name(tensor.text(8))
        where = f"{where} {_shown(name)}"
        if 13 in tensor or tensor.number(14):
            raise _RefusedError(f"{where} has its data in another file")
        if 3 in tensor:
            raise _RefusedError(f"{where} is a part of one")
        kind = tensor.number(2)
        if kind not in ITEM_BYTES or 6 in tensor:
            raise _RefusedError(f"{where} is of type {kind}, which no model needs")
        shape = tensor.numbers(1, MAX_RANK)
        if any(not 0 <= size <= MAX_DIMENSION for size in shape):
            raise _RefusedError(f"{where} has the shape {shape}")
        if _elements(tensor, kind) != math.prod(shape):
            raise _RefusedError(f"{where} does not hold what its shape {shape} says")
        return name

    def value(self, part: memoryview) -> tuple[str, int, list[int]]:
        """Name, type and shape (0 for a size that is left open) of an input or output, which must be a tensor."""
        value = self.reader.read(part, VALUE)
        name = _checked_name(value.text(1))
        kind = self.reader.read(value.part(2), TYPE)
        if any(other in kind for other in (4, 5, 7, 8, 9)):
            raise _RefusedError(f"{_shown(name)} is not a tensor")
        tensor = self.reader.read(kind.part(1), TENSOR_TYPE)
        sizes = self.reader.read(tensor.part(2), SHAPE).parts(1)
        if len(sizes) > MAX_RANK:
            raise _RefusedError(f"{_shown(name)} has {len(sizes)} axes")
        return name, tensor.number(1), [self.reader.read(size, DIMENSION).number(1) for size in sizes]

    def outputs(self, graph: Message, bits: int | None) -> None:
        given = {name: (kind, shape) for name, kind, shape in map(self.value, graph.parts(12))}
        missing = [name for name in given if name not in self.made]
        if missing:
            raise _RefusedError(f"nothing makes its output {_shown(missing[0])}")
        if bits is None:
            return
        wanted = ("outputs", "features") if self.takes == PIXELS else ("outputs",)
        if not set(wanted) <= set(given) or self.takes not in self.of_inputs:
            needed = "uint8 `pixels`" if self.takes == PIXELS else "int64 `ids`"
            raise _RefusedError(f"it must take {needed} and give `{'` and `'.join(wanted)}`")
        for name in wanted:
            kind, shape = given[name]
            if kind != FLOAT or len(shape) != 2:
                raise _RefusedError(f"its {name} are of type {kind} and shape {shape}; they must be rows of float32")
        if given["outputs"][1][1] != bits:
            raise _RefusedError(f"it gives {given['outputs'][1][1]} outputs, its grains ask for {bits}")
        if "features" in wanted and not 1 <= given["features"][1][1] <= MAX_FEATURES:
            raise _RefusedError(
                f"its features are {given['features'][1][1]} numbers wide; at most {MAX_FEATURES} may be"
            )


def _elements(tensor: Message, kind: int) -> int:
    """How many elements a tensor's bytes hold; -1 where they are given in two ways or do not fit the type."""
    given = [field for field in (4, 5, 7, 9, 10, 11) if field in tensor]
    if len(given) > 1:
        return -1
    if 9 in tensor:
        whole, rest = divmod(len(tensor.part(9)), ITEM_BYTES[kind])
        return -1 if rest else whole
    own = {1: 4, 7: 7, 11: 10, 12: 11, 13: 11}.get(kind, 5)  # the field that a type keeps its numbers in
    if given and given != [own]:
        return -1
    return tensor.count(own, TENSOR[own])


def _checked_name(name: str) -> str:
    if len(name) > MAX_NAME:
        raise _RefusedError(f"it has a name of {len(name):,} characters")
    return name


def _shown(name: str) -> str:
    return repr(name[:60])
