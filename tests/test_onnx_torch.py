"""The graph in torch is the graph in ONNX Runtime, operation by operation and as a whole."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the train extra")
onnx = pytest.importorskip("onnx", reason="needs the train extra")

import onnxruntime  # noqa: E402
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from conftest import make_picture  # noqa: E402
from hashgrain import Encoder  # noqa: E402
from hashgrain.errors import TrainingError  # noqa: E402
from hashgrain.learn.onnx_torch import OPERATIONS, read_graph, run_graph  # noqa: E402
from hashgrain.models import Bundle  # noqa: E402

pytestmark = pytest.mark.train

DICE = np.random.default_rng(0)
PICTURE, ROW = (2, 4, 9, 7), (3, 8)


def reals(*shape: int) -> np.ndarray:
    return DICE.normal(size=shape).astype(np.float32)


def ints(*numbers: int) -> np.ndarray:
    return np.array(numbers, np.int64)


def graph_of(operation: str, shape: tuple[int, ...], constants: list[Any], given: dict[str, Any], opset: int) -> bytes:
    """x, then the operation, then outputs; a constant that is None is an input left out."""
    names = [None if value is None else f"c{i}" for i, value in enumerate(constants)]
    x = [] if operation == "Constant" else ["x"]
    node = helper.make_node(operation, [*x, *(name or "" for name in names)], ["y"], **given)
    nodes = [node, helper.make_node("Cast", ["y"], ["outputs"], to=TensorProto.FLOAT)]
    held = [numpy_helper.from_array(value, name) for name, value in zip(names, constants, strict=True) if name]
    taken = helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)
    given_back = helper.make_tensor_value_info("outputs", TensorProto.FLOAT, None)
    model = helper.make_model(
        helper.make_graph(nodes, "tiny", [taken], [given_back], held),
        opset_imports=[helper.make_opsetid("", opset)],
        ir_version=9,
    )
    return bytes(model.SerializeToString())


def picture_norm() -> list[np.ndarray]:
    return [reals(4), reals(4), reals(4), np.abs(reals(4)) + 0.1]


POOL = {"kernel_shape": [3, 2], "strides": [2, 2], "pads": [1, 0, 1, 1]}
CASES: list[tuple[str, tuple[int, ...], list[Any], dict[str, Any]]] = [
    ("Add", PICTURE, [reals(4, 1, 1)], {}),
    ("AveragePool", PICTURE, [], POOL),
    ("AveragePool", PICTURE, [], {**POOL, "count_include_pad": 1}),
    ("AveragePool", PICTURE, [], {"kernel_shape": [2, 2]}),
    ("BatchNormalization", PICTURE, picture_norm(), {"epsilon": 1e-3}),
    ("Cast", ROW, [], {"to": TensorProto.DOUBLE}),
    ("Clip", ROW, [np.float32(-0.5), np.float32(0.4)], {}),
    ("Clip", ROW, [None, np.float32(0.4)], {}),
    ("Concat", ROW, [reals(3, 2)], {"axis": 1}),
    ("Constant", ROW, [], {"value": numpy_helper.from_array(reals(2, 2))}),
    ("Constant", ROW, [], {"value_floats": [1.5, 2.0]}),
    ("Constant", ROW, [], {"value_int": 7}),
    ("Conv", PICTURE, [reals(6, 2, 3, 3), reals(6)], {"group": 2, "pads": [0, 1, 2, 3], "strides": [2, 1]}),
    ("Conv", PICTURE, [reals(6, 4, 2, 2)], {"dilations": [2, 2]}),
    ("Cos", ROW, [], {}),
    ("Div", ROW, [reals(8) + 5], {}),
    ("Erf", ROW, [], {}),
    ("Exp", ROW, [], {}),
    ("Flatten", PICTURE, [], {}),
    ("Flatten", PICTURE, [], {"axis": -1}),
    ("Gather", ROW, [ints(-1, 0, 3)], {"axis": 1}),
    ("Gather", ROW, [np.array(1, np.int64)], {}),
    ("Gelu", ROW, [], {}),
    ("Gelu", ROW, [], {"approximate": "tanh"}),
    ("Gemm", ROW, [reals(5, 8), reals(5)], {"transB": 1, "alpha": 0.5, "beta": 2.0}),
    ("Gemm", ROW, [reals(3, 4)], {"transA": 1}),
    ("GlobalAveragePool", PICTURE, [], {}),
    ("HardSigmoid", ROW, [], {"alpha": 0.3}),
    ("HardSwish", ROW, [], {}),
    ("Identity", ROW, [], {}),
    ("LayerNormalization", ROW, [reals(8), reals(8)], {"epsilon": 1e-3}),
    ("LayerNormalization", PICTURE, [reals(9, 7)], {"axis": 2}),
    ("LeakyRelu", ROW, [], {"alpha": 0.2}),
    ("LpNormalization", ROW, [], {"axis": 1, "p": 2}),
    ("MatMul", PICTURE, [reals(7, 3)], {}),
    ("MaxPool", PICTURE, [], POOL),
    ("Mean", ROW, [reals(3, 8), reals(3, 1)], {}),
    ("Mul", ROW, [reals(3, 1)], {}),
    ("Pow", ROW, [np.float32(2)], {}),
    ("QuantizeLinear", ROW, [np.float32(0.05), np.uint8(100)], {}),
    ("QuantizeLinear", PICTURE, [np.float32([0.1, 0.2, 0.3, 0.4]), np.int8([0, 1, -9, 50])], {"axis": 1}),
    ("ReduceMean", PICTURE, [ints(2, 3)], {"keepdims": 0}),
    ("ReduceMean", PICTURE, [], {}),
    ("ReduceMean", PICTURE, [], {"noop_with_empty_axes": 1}),
    ("Relu", ROW, [], {}),
    ("Reshape", PICTURE, [ints(0, -1)], {}),
    ("Shape", PICTURE, [], {"start": 1}),
    ("Sigmoid", ROW, [], {}),
    ("Slice", PICTURE, [ints(1, -4), ints(2**63 - 1, -1), ints(2, 3), ints(2, 1)], {}),
    ("Slice", PICTURE, [ints(0, 1), ints(1, 3)], {}),
    ("Softmax", ROW, [], {}),
    ("Softmax", ROW, [], {"axis": 0}),
    ("Sqrt", (4,), [], {}),
    ("Squeeze", (2, 1, 3, 1), [ints(1)], {}),
    ("Squeeze", (2, 1, 3, 1), [], {}),
    ("Sub", ROW, [reals(1)], {}),
    ("Tanh", ROW, [], {}),
    ("Transpose", PICTURE, [], {"perm": [0, 2, 3, 1]}),
    ("Transpose", ROW, [], {}),
    ("Unsqueeze", ROW, [ints(0, -1)], {}),
]


@pytest.mark.parametrize(
    ("operation", "shape", "constants", "given"), CASES, ids=[f"{i}-{case[0]}" for i, case in enumerate(CASES)]
)
def test_an_operation_is_what_the_runtime_computes(operation: str, shape: Any, constants: Any, given: Any) -> None:
    content = graph_of(operation, shape, constants, given, opset=20)
    x = np.abs(reals(*shape)) if operation == "Sqrt" else 2 * reals(*shape)
    (expected,) = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"]).run(None, {"x": x})
    found = run_graph(read_graph(content), torch.from_numpy(x))
    assert found.shape == expected.shape
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-5, rtol=1e-5)


def test_every_operation_known_is_compared() -> None:
    assert {case[0] for case in CASES} | {"DequantizeLinear"} == set(OPERATIONS)


def test_whole_numbers_of_eight_bits_come_back_as_the_runtime_has_them() -> None:
    weight = DICE.integers(-128, 128, (6, 4, 3, 3)).astype(np.int8)
    held = {"w": weight, "s": np.abs(reals(6)) + 0.1, "z": np.zeros(6, np.int8)}
    model = helper.make_model(
        helper.make_graph(
            [
                helper.make_node("DequantizeLinear", ["w", "s", "z"], ["weight"], axis=0),
                helper.make_node("Conv", ["x", "weight"], ["outputs"]),
            ],
            "tiny",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, PICTURE)],
            [helper.make_tensor_value_info("outputs", TensorProto.FLOAT, None)],
            [numpy_helper.from_array(value, name) for name, value in held.items()],
        ),
        opset_imports=[helper.make_opsetid("", 20)],
        ir_version=9,
    )
    content, x = bytes(model.SerializeToString()), reals(*PICTURE)
    (expected,) = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"]).run(None, {"x": x})
    np.testing.assert_allclose(
        run_graph(read_graph(content), torch.from_numpy(x)).numpy(), expected, rtol=1e-4, atol=1e-3
    )


def test_gradients_pass_through_rounding() -> None:
    x = torch.tensor([0.12, -3.0, 9.0], requires_grad=True)
    OPERATIONS["QuantizeLinear"]({}, x, torch.tensor(0.1), torch.tensor(0, dtype=torch.int8)).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == pytest.approx([10, 10, 10])
    wide = torch.tensor([900.0], requires_grad=True)
    OPERATIONS["QuantizeLinear"]({}, wide, torch.tensor(0.1), torch.tensor(0, dtype=torch.int8)).sum().backward()
    assert wide.grad is not None
    assert wide.grad.tolist() == [0]


def test_whole_numbers_divide_to_whole_numbers() -> None:
    given: dict[str, Any] = {}
    assert OPERATIONS["Div"](given, torch.tensor([7, -7]), torch.tensor([2, 2])).tolist() == [3, -3]


def test_the_default_model_gives_the_runtime_s_outputs_and_a_gradient() -> None:
    encoder = Encoder.load(threads=1)
    pictures = np.stack([np.asarray(make_picture(seed, (64, 64))) for seed in range(20)])
    graph = read_graph(encoder.bundle.onnx)
    pixels = torch.from_numpy(pictures).float().requires_grad_()
    outputs, features = encoder.outputs_and_features(pictures)
    found = run_graph(graph, pixels)
    # Whole numbers: where a value lies between two of them, both ways of computing may round it otherwise.
    values = run_graph(graph, pixels, "features").detach().numpy()
    for ours, theirs in ((found.detach().numpy(), outputs), (values, features)):
        differences = np.abs(ours - theirs)
        assert np.median(differences) < 1e-4
        assert differences.max() < 0.05
    (slope,) = torch.autograd.grad(found.sum(), pixels)
    assert slope.shape == pixels.shape
    assert bool((slope.flatten(1).abs().sum(1) > 0).all())


def test_an_operation_that_is_not_known_is_named() -> None:
    content = graph_of("Celu", ROW, [], {}, opset=20)
    with pytest.raises(TrainingError, match="uses Celu"):
        read_graph(content)
    model = onnx.load_from_string(graph_of("Relu", ROW, [], {}, opset=20))
    model.graph.node[0].domain = "com.microsoft"
    with pytest.raises(TrainingError, match=r"uses com\.microsoft\.Relu"):
        read_graph(model.SerializeToString())


@pytest.mark.parametrize(
    ("operation", "given", "reason"),
    [
        ("MaxPool", {"kernel_shape": [2, 2], "ceil_mode": 1}, "ceil_mode"),
        ("MaxPool", {"kernel_shape": [2, 2], "auto_pad": "SAME_UPPER"}, "auto_pad"),
    ],
)
def test_a_use_that_is_not_known_is_named(operation: str, given: dict[str, Any], reason: str) -> None:
    with pytest.raises(TrainingError, match=f"{operation}.*{reason}"):
        run_graph(read_graph(graph_of(operation, PICTURE, [], given, 20)), torch.zeros(PICTURE))


def test_what_is_no_graph_of_ours_is_refused() -> None:
    with pytest.raises(TrainingError, match="not ONNX"):
        read_graph(b"\xff damaged")
    with pytest.raises(TrainingError, match="opset 11"):
        read_graph(graph_of("Relu", ROW, [], {}, opset=11))
    with pytest.raises(TrainingError, match="no 'nonsense'"):
        run_graph(read_graph(graph_of("Relu", ROW, [], {}, 20)), torch.zeros(ROW), "nonsense")
    model = onnx.load_from_string(Bundle.read().onnx)
    weight = model.graph.initializer[0]
    weight.data_location = TensorProto.EXTERNAL
    weight.ClearField("raw_data")
    weight.external_data.add(key="location", value="/etc/passwd")
    with pytest.raises(TrainingError, match="another file"):
        read_graph(dataclasses.replace(Bundle.read(), onnx=model.SerializeToString()).onnx)
