"""ONNX files of others: colors in the second axis or the last, told apart or asked for; mean and std as told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from conftest import fill
from hashgrain import Encoder
from hashgrain.errors import TrainingError
from hashgrain.media import open_picture
from in_process import hashgrain
from made_networks import numbers, save_onnx

torch = pytest.importorskip("torch", reason="needs the train extra")
pytest.importorskip("onnx", reason="needs the train extra")
pytestmark = pytest.mark.train

from hashgrain.learn.backbones import build  # noqa: E402
from hashgrain.learn.encoders.preprocessing import Wishes, typed_colors  # noqa: E402
from hashgrain.learn.encoders.sources import network_of  # noqa: E402

SIZE, WIDTH = 16, 5
KERNEL = numbers(WIDTH, 3, 4, 4)
OPEN = ("n", "a", "b", "c")
NCHW, NHWC = ("n", 3, SIZE, SIZE), ("n", SIZE, SIZE, 3)
MEAN, STD = (0.1, 0.2, 0.3), (0.4, 0.5, 0.6)


def conv(path: Path, *, last: bool, shape: tuple[Any, ...], pooled: bool = False) -> Path:
    """A convolution with its ReLU, whose map has its channels where the pictures have theirs: as Keras exports it."""
    from onnx import TensorProto, helper

    inward = [helper.make_node("Transpose", ["x"], ["planes"], perm=[0, 3, 1, 2])] if last else []
    outward = [helper.make_node("Transpose", ["map"], ["out"], perm=[0, 2, 3, 1])]
    if pooled or not last:
        outward = [helper.make_node("ReduceMean", ["map"], ["out"], axes=[2, 3], keepdims=0)] if pooled else []
    middle = [
        helper.make_node("Conv", ["planes" if last else "x", "kernel"], ["found"]),
        helper.make_node("Relu", ["found"], ["map" if outward else "out"]),
    ]
    gives = {"out": (TensorProto.FLOAT, None)}
    return save_onnx(path, [*inward, *middle, *outward], {"kernel": KERNEL}, {"x": (TensorProto.FLOAT, shape)}, gives)


def any_order(path: Path, shape: tuple[Any, ...]) -> Path:
    """Looks at nothing but the mean of all numbers: it runs on pictures in any layout."""
    from onnx import TensorProto, helper

    nodes = [
        helper.make_node("ReduceMean", ["x"], ["mean"], axes=[1, 2, 3], keepdims=0),
        helper.make_node("Unsqueeze", ["mean", "axis"], ["out"]),
    ]
    gives = {"out": (TensorProto.FLOAT, ["n", 1])}
    return save_onnx(path, nodes, {"axis": np.array([1])}, {"x": (TensorProto.FLOAT, shape)}, gives)


def expected(pixels: NDArray[np.uint8], mean: tuple[float, ...] = MEAN, std: tuple[float, ...] = STD) -> Any:
    planes = torch.from_numpy((pixels / 255 - mean) / std).permute(0, 3, 1, 2).float()
    found = torch.relu(torch.nn.functional.conv2d(planes, torch.from_numpy(KERNEL)))
    return found.mean(dim=(2, 3)).numpy()


def pictures(count: int = 3) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (count, SIZE, SIZE, 3), np.uint8)


def features(file: Path, *settings: str) -> NDArray[np.float32]:
    """By the graph that `model make` keeps."""
    import onnxruntime

    network = network_of(f"onnx:{file}", SIZE, False, lambda text: None, Wishes.of(settings))
    session = onnxruntime.InferenceSession(network.graph, providers=["CPUExecutionProvider"])
    return session.run(["features"], {"pixels": pictures()})[0]


HOW = ("mean=0.1,0.2,0.3", "std=0.4,0.5,0.6")


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("pooled", [False, True])
@pytest.mark.parametrize("how", ["fixed", "open", "open batch"])
def test_both_layouts_give_the_features_they_should(tmp_path: Path, last: bool, pooled: bool, how: str) -> None:
    shape = {"fixed": NHWC if last else NCHW, "open": OPEN}.get(
        how, ("n", None, None, 3) if last else ("n", 3, "h", "w")
    )
    file = conv(tmp_path / "m.onnx", last=last, shape=shape, pooled=pooled)
    told = [[], [f"layout={'nhwc' if last else 'nchw'}"]] if how == "open" else [[]]
    for layout in told:
        assert np.allclose(features(file, *HOW, *layout), expected(pictures()), atol=1e-4)
    backbone = build(f"onnx:{file}", size=SIZE, mean=MEAN, std=STD)
    planes = torch.from_numpy(pictures()).permute(0, 3, 1, 2) / 255
    assert np.allclose(backbone(planes).numpy(), expected(pictures()), atol=1e-4)


def test_gradients_reach_the_pixels_of_a_model_with_its_colors_last(tmp_path: Path) -> None:
    backbone = build(f"onnx:{conv(tmp_path / 'm.onnx', last=True, shape=NHWC)}", size=SIZE)
    pixels = (torch.from_numpy(pictures()).permute(0, 3, 1, 2) / 255).requires_grad_()
    backbone(pixels).sum().backward()
    assert pixels.grad.abs().sum() > 0


def test_a_model_that_runs_on_both_has_to_be_told(tmp_path: Path) -> None:
    file = any_order(tmp_path / "m.onnx", OPEN)
    with pytest.raises(TrainingError, match=r"runs on both; set layout=nchw or layout=nhwc"):
        features(file)
    with pytest.raises(TrainingError, match="runs on both"):
        build(f"onnx:{file}", size=SIZE)
    same = [features(file, *HOW, f"layout={layout}") for layout in ("nchw", "nhwc")]
    assert np.allclose(same[0], same[1], atol=1e-6)
    assert np.allclose(same[0][:, 0], ((pictures() / 255 - MEAN) / STD).mean(axis=(1, 2, 3)), atol=1e-5)


def test_a_layout_that_the_shape_contradicts_is_refused(tmp_path: Path) -> None:
    for last, wrong in ((True, "nchw"), (False, "nhwc")):
        file = conv(tmp_path / "m.onnx", last=last, shape=NHWC if last else NCHW)
        with pytest.raises(TrainingError, match=f"which is not layout={wrong}"):
            features(file, f"layout={wrong}")
        with pytest.raises(TrainingError, match=f"which is not layout={wrong}"):
            build(f"onnx:{file}", size=SIZE, layout=wrong)
    fixed = conv(tmp_path / "m.onnx", last=True, shape=NHWC)
    with pytest.raises(TrainingError, match=f"takes pictures of {SIZE}x{SIZE} px, not of 32"):
        build(f"onnx:{fixed}", size=32)


@pytest.mark.parametrize(
    ("setting", "reason"),
    [
        ("layout=hwc", r"layout=hwc: pictures are nchw \(n, 3, s, s\) or nhwc \(n, s, s, 3\)"),
        ("mean=a", "mean=a: it takes three numbers joined by commas, or one"),
        ("mean=0,0", "the mean of the colors is"),
        ("std=0", "the std of the colors is"),
        ("std=1/0", "std=1/0: it takes three numbers"),
        ("std=nan", "the std of the colors is"),
        ("size=3", "setting size=3: it takes mean=, std= or layout=, and layer= of keras"),
        ("mean", "setting mean: it takes"),
    ],
)
def test_settings_that_make_no_sense_are_refused(setting: str, reason: str) -> None:
    with pytest.raises(TrainingError, match=reason):
        Wishes.of([setting])


def test_settings_are_of_files_that_do_not_say(tmp_path: Path) -> None:
    assert typed_colors("1/255", "std") == (1 / 255,) * 3
    with pytest.raises(TrainingError, match="are for onnx:FILE and keras:FILE; timm:x states its own"):
        network_of("timm:x", None, False, lambda text: None, Wishes.of(["mean=0"]))
    with pytest.raises(TrainingError, match="takes no layout"):
        build("compact", layout="nhwc")
    with pytest.raises(TrainingError, match="layout=odd"):
        build("onnx:m.onnx", layout="odd")


def test_the_commands_take_the_settings_and_the_lock_tells_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = conv(tmp_path / "m.onnx", last=True, shape=OPEN)
    fill(tmp_path / "pictures/a", 20)
    fill(tmp_path / "pictures/b", 20, start=20)
    made = hashgrain(
        "model", "make", "mine", "--from", f"onnx:{file}", "--pictures", "pictures", "--bits", "4", "--size", SIZE,
        "--set", "mean=0.5", "--set", "std=1/255", "--set", "layout=nhwc", "-q",
    )  # fmt: skip
    assert made.exit_code == 0, made.stderr
    bundle = Encoder.load(tmp_path / "mine").bundle
    told = bundle.others["source"]["preprocessing"]
    assert (told["mean"], told["layout"]) == ([0.5] * 3, "nhwc")
    shown = np.stack(
        [open_picture(path, size=(SIZE, SIZE)).pixels for path in sorted((tmp_path / "pictures/a").iterdir())[:2]]
    )
    found = Encoder(bundle).outputs_and_features(shown)[1]
    assert np.allclose(found, expected(shown, (0.5,) * 3, (1 / 255,) * 3), rtol=1e-3)
    trained = hashgrain(
        "train", "--data", "pictures", "--out", "trained", "--bits", "4,6,8", "--recipe", "quick",
        *("--set", "trained=head", "--set", f"backbone=onnx:{file}", "--set", f"size={SIZE}", "--set", "epochs=1"),
        *("--set", "mean=0.5", "--set", "std=1/255", "--set", "layout=nhwc", "-q"),
    )  # fmt: skip
    assert trained.exit_code == 0, trained.stderr
    found = Encoder.load(tmp_path / "trained").outputs_and_features(shown)[1]
    assert np.allclose(found, expected(shown, (0.5,) * 3, (1 / 255,) * 3), rtol=1e-3)
