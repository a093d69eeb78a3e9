"""Runs a bundle's graph in torch, so that gradients reach the pixels: an attack on a finished model needs them.

A bundle holds only ONNX, so the graph is translated from it operation by operation. The table OPERATIONS at the end
lists all that are known; each is tested against ONNX Runtime. A new operation takes one function and one row.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from hashgrain.errors import TrainingError

OLDEST_OPSET = 13  # in older ones, several operations take their settings elsewhere or mean something else
Attributes = Mapping[str, Any]
Operation = Callable[..., Tensor]  # (attributes, *inputs); an input left out is None


@dataclass(frozen=True)
class Step:
    operation: str
    attributes: Attributes
    inputs: Sequence[str]
    output: str


@dataclass(frozen=True)
class Graph:
    """A graph ready to run: its steps in order and its constants as tensors."""

    steps: Sequence[Step]
    constants: Mapping[str, Tensor]
    input: str

    def to(self, device: torch.device) -> Graph:
        moved = {name: value.to(device) for name, value in self.constants.items()}
        return Graph(self.steps, moved, self.input)


def read_graph(content: bytes) -> Graph:
    """The graph of a bundle (`bundle.onnx`). Operations that are not known are refused here, before anything runs."""
    import onnx

    try:
        model = onnx.load_from_string(content)
    except Exception as error:  # a damaged file raises whatever its parser raises
        raise TrainingError(f"the graph is not ONNX ({type(error).__name__}); export the model again") from None
    opset = next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), 0)
    if opset < OLDEST_OPSET:
        raise TrainingError(f"the graph is of opset {opset}, torch can follow {OLDEST_OPSET} or newer; export it anew")
    for node in model.graph.node:
        if node.domain not in ("", "ai.onnx") or node.op_type not in OPERATIONS or len(node.output) != 1:
            name = f"{node.domain}.{node.op_type}" if node.domain else node.op_type
            raise TrainingError(
                f"the graph uses {name}, which torch cannot follow here; add it to learn/onnx_torch.py, or export"
                f" the model with operations it has: {', '.join(OPERATIONS)}"
            )
    constants = {entry.name: _tensor(entry) for entry in model.graph.initializer}
    steps = [
        Step(
            node.op_type,
            {entry.name: _value(entry) for entry in node.attribute},
            list(node.input),
            node.output[0],
        )
        for node in model.graph.node
    ]
    (taken,) = [entry.name for entry in model.graph.input if entry.name not in constants]
    return Graph(steps, constants, taken)


def run_graph(graph: Graph, pixels: Tensor, wanted: str = "outputs") -> Tensor:
    """One output of the graph for float pixels (n, height, width, 3) in 0..255, differentiable in them."""
    values: dict[str, Tensor | None] = {"": None, **graph.constants, graph.input: pixels}
    for step in graph.steps:
        inputs = [values[name] for name in step.inputs]
        try:
            values[step.output] = OPERATIONS[step.operation](step.attributes, *inputs)
        except (TypeError, ValueError, LookupError, RuntimeError) as error:
            raise TrainingError(f"torch cannot follow {step.operation} as the graph uses it: {error}") from None
        if step.output == wanted:
            break
    output = values.get(wanted)
    if output is None:
        raise TrainingError(f"the graph gives no {wanted!r}; it is not the graph of a bundle")
    return output


def _tensor(entry: Any) -> Tensor:
    from onnx import TensorProto, numpy_helper

    if entry.data_location == TensorProto.EXTERNAL:
        raise TrainingError(f"weight {entry.name!r} lies in another file; a bundle holds all of its weights itself")
    return torch.from_numpy(np.array(numpy_helper.to_array(entry)))


def _value(entry: Any) -> Any:
    from onnx import AttributeProto, helper

    value = helper.get_attribute_value(entry)
    if entry.type == AttributeProto.TENSOR:
        return _tensor(value)
    return value.decode() if isinstance(value, bytes) else value


# --- what several operations share


def _ints(tensor: Tensor | None) -> list[int] | None:
    return None if tensor is None else [int(number) for number in tensor.flatten()]


def _padded(given: Attributes, values: Tensor, fill: float = 0.0) -> Tensor:
    """ONNX lists the pads at the beginning of all axes, then at their ends; torch per axis, the last axis first."""
    if given.get("auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
        raise ValueError(f"auto_pad {given['auto_pad']}; only pads written out are followed")
    pads = given.get("pads", [0] * 4)
    if not any(pads):
        return values
    axes = len(pads) // 2
    sides = [side for axis in reversed(range(axes)) for side in (pads[axis], pads[axis + axes])]
    return F.pad(values, sides, value=fill)


def _floor_only(given: Attributes) -> None:
    if given.get("ceil_mode", 0):
        raise ValueError("ceil_mode 1; only windows that fit whole are followed")


# --- the operations, by their ONNX names in the table below


def _conv(given: Attributes, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    stride, dilation = given.get("strides", [1, 1]), given.get("dilations", [1, 1])
    return F.conv2d(_padded(given, x), weight, bias, stride, 0, dilation, given.get("group", 1))


def _max_pool(given: Attributes, x: Tensor) -> Tensor:
    _floor_only(given)
    window, stride = given["kernel_shape"], given.get("strides", [1, 1])
    return F.max_pool2d(_padded(given, x, -torch.inf), window, stride, 0, given.get("dilations", [1, 1]))


def _average_pool(given: Attributes, x: Tensor) -> Tensor:
    _floor_only(given)
    window, stride = given["kernel_shape"], given.get("strides", [1, 1])
    total = F.avg_pool2d(_padded(given, x), window, stride)
    if given.get("count_include_pad", 0) or not any(given.get("pads", [0])):
        return total
    # Padding does not count: divide by the share of each window that lies on the picture.
    return total / F.avg_pool2d(_padded(given, torch.ones_like(x[:1, :1])), window, stride)


def _batch_norm(given: Attributes, x: Tensor, scale: Tensor, shift: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
    if given.get("training_mode", 0):
        raise ValueError("training_mode 1; a finished model normalizes by what it learned")
    return F.batch_norm(x, mean, variance, scale, shift, False, 0.0, given.get("epsilon", 1e-5))


def _layer_norm(given: Attributes, x: Tensor, scale: Tensor, shift: Tensor | None = None) -> Tensor:
    axis = given.get("axis", -1) % x.ndim
    return F.layer_norm(x, list(x.shape[axis:]), scale, shift, given.get("epsilon", 1e-5))


def _gemm(given: Attributes, a: Tensor, b: Tensor, c: Tensor | None = None) -> Tensor:
    a, b = (a.T if given.get("transA", 0) else a), (b.T if given.get("transB", 0) else b)
    product: Tensor = given.get("alpha", 1.0) * (a @ b)
    return product if c is None else product + given.get("beta", 1.0) * c


def _divide(given: Attributes, a: Tensor, b: Tensor) -> Tensor:
    whole = not (a.is_floating_point() or b.is_floating_point())
    return torch.div(a, b, rounding_mode="trunc" if whole else None)


def _cast(given: Attributes, x: Tensor) -> Tensor:
    from onnx import helper

    # Pixels are floats here, so that gradients exist: a cast to integers would end them.
    target = torch.from_numpy(np.zeros((), helper.tensor_dtype_to_np_dtype(given["to"]))).dtype
    return x if x.requires_grad and not target.is_floating_point else x.to(target)


def _reduce_mean(given: Attributes, x: Tensor, axes: Tensor | None = None) -> Tensor:
    over = _ints(axes) or given.get("axes")
    if not over and given.get("noop_with_empty_axes", 0):
        return x
    return x.mean(dim=over or list(range(x.ndim)), keepdim=bool(given.get("keepdims", 1)))


def _reshape(given: Attributes, x: Tensor, shape: Tensor) -> Tensor:
    keep_zero = given.get("allowzero", 0)
    sizes = [x.shape[i] if size == 0 and not keep_zero else size for i, size in enumerate(_ints(shape) or [])]
    return x.reshape(sizes)


def _flatten(given: Attributes, x: Tensor) -> Tensor:
    axis = given.get("axis", 1)
    return x.reshape(int(np.prod(x.shape[: axis if axis >= 0 else axis + x.ndim])), -1)


def _unsqueeze(given: Attributes, x: Tensor, axes: Tensor) -> Tensor:
    places = _ints(axes) or []
    for axis in sorted(axis % (x.ndim + len(places)) for axis in places):
        x = x.unsqueeze(axis)
    return x


def _squeeze(given: Attributes, x: Tensor, axes: Tensor | None = None) -> Tensor:
    places = _ints(axes)
    return x.squeeze() if places is None else x.squeeze(dim=places)


def _gather(given: Attributes, x: Tensor, index: Tensor) -> Tensor:
    axis = given.get("axis", 0) % x.ndim
    places = torch.where(index < 0, index + x.shape[axis], index)
    chosen = x.index_select(axis, places.flatten())
    return chosen.reshape(*x.shape[:axis], *index.shape, *x.shape[axis + 1 :])


def _slice(
    given: Attributes, x: Tensor, starts: Tensor, ends: Tensor, axes: Tensor | None = None, steps: Tensor | None = None
) -> Tensor:
    first, last = _ints(starts) or [], _ints(ends) or []
    stride = _ints(steps) or [1] * len(first)
    if any(step < 1 for step in stride):
        raise ValueError("a slice that goes backwards")
    index = [slice(None)] * x.ndim
    for axis, start, end, step in zip(_ints(axes) or range(len(first)), first, last, stride, strict=True):
        index[axis] = slice(start, end, step)
    return x[tuple(index)]


def _constant(given: Attributes) -> Tensor:
    if "value" in given:
        value: Tensor = given["value"]
        return value
    ((name, number),) = given.items()  # value_float, value_floats, value_int, value_ints
    return torch.tensor(number, dtype=torch.float32 if "float" in name else torch.int64)


def _clip(given: Attributes, x: Tensor, low: Tensor | None = None, high: Tensor | None = None) -> Tensor:
    return x if low is None and high is None else x.clamp(low, high)


def _hard_sigmoid(given: Attributes, x: Tensor) -> Tensor:
    line: Tensor = given.get("alpha", 0.2) * x + given.get("beta", 0.5)
    return line.clamp(0, 1)


def _gelu(given: Attributes, x: Tensor) -> Tensor:
    return F.gelu(x, approximate=given.get("approximate", "none"))


def _per_channel(given: Attributes, x: Tensor, values: Tensor) -> Tensor:
    """Scales or zero points, one in all or one per channel of the axis, in a shape that broadcasts with x."""
    if values.ndim == 0 or values.numel() == 1:
        return values.reshape(()).to(torch.float32)
    shape = [1] * x.ndim
    shape[given.get("axis", 1)] = -1
    return values.to(torch.float32).reshape(shape)


def _quantize(given: Attributes, x: Tensor, scale: Tensor, zero: Tensor | None = None) -> Tensor:
    """To 8-bit integers, stored as floats; gradients pass straight through the rounding."""
    kind = torch.iinfo(torch.uint8 if zero is None else zero.dtype)
    shift = 0.0 if zero is None else _per_channel(given, x, zero)
    exact = x / _per_channel(given, x, scale) + shift
    rounded = (exact - shift).round() + shift
    return (exact + (rounded - exact).detach()).clamp(kind.min, kind.max)


def _dequantize(given: Attributes, x: Tensor, scale: Tensor, zero: Tensor | None = None) -> Tensor:
    shift = 0.0 if zero is None else _per_channel(given, x, zero)
    return (x.to(torch.float32) - shift) * _per_channel(given, x, scale)


OPERATIONS: Mapping[str, Operation] = {
    "Add": lambda given, a, b: a + b,
    "AveragePool": _average_pool,
    "BatchNormalization": _batch_norm,
    "Cast": _cast,
    "Clip": _clip,
    "Concat": lambda given, *parts: torch.cat(parts, given["axis"]),
    "Constant": _constant,
    "Conv": _conv,
    "Cos": lambda given, x: torch.cos(x),
    "DequantizeLinear": _dequantize,
    "Div": _divide,
    "Erf": lambda given, x: torch.erf(x),
    "Exp": lambda given, x: torch.exp(x),
    "Flatten": _flatten,
    "Gather": _gather,
    "Gelu": _gelu,
    "Gemm": _gemm,
    "GlobalAveragePool": lambda given, x: x.mean(dim=tuple(range(2, x.ndim)), keepdim=True),
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": lambda given, x: F.hardswish(x),
    "Identity": lambda given, x: x,
    "LayerNormalization": _layer_norm,
    "LeakyRelu": lambda given, x: F.leaky_relu(x, given.get("alpha", 0.01)),
    "LpNormalization": lambda given, x: F.normalize(x, given.get("p", 2), given.get("axis", -1)),
    "MatMul": lambda given, a, b: a @ b,
    "MaxPool": _max_pool,
    "Mean": lambda given, first, *others: sum(others, first) / (1 + len(others)),
    "Mul": lambda given, a, b: a * b,
    "Pow": lambda given, a, b: a**b,
    "QuantizeLinear": _quantize,
    "ReduceMean": _reduce_mean,
    "Relu": lambda given, x: torch.relu(x),
    "Reshape": _reshape,
    "Shape": lambda given, x: torch.tensor(x.shape[given.get("start", 0) : given.get("end")]),
    "Sigmoid": lambda given, x: torch.sigmoid(x),
    "Slice": _slice,
    "Softmax": lambda given, x: torch.softmax(x, given.get("axis", -1)),
    "Sqrt": lambda given, x: torch.sqrt(x),
    "Squeeze": _squeeze,
    "Sub": lambda given, a, b: a - b,
    "Tanh": lambda given, x: torch.tanh(x),
    "Transpose": lambda given, x: x.permute(given["perm"] if "perm" in given else list(reversed(range(x.ndim)))),
    "Unsqueeze": _unsqueeze,
}
