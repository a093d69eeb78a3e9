"""Backbones: every one gives features of its width from plain pictures, what is frozen rests, weights are checked."""

from __future__ import annotations

import copy
import io
import json
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.error import URLError

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the train extra")
timm = pytest.importorskip("timm", reason="needs the train extra")
torchvision = pytest.importorskip("torchvision", reason="needs the train extra")
onnx = pytest.importorskip("onnx", reason="needs the train extra")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402
from safetensors.torch import save_file  # noqa: E402
from torch import nn  # noqa: E402

from hashgrain import Encoder  # noqa: E402
from hashgrain.errors import BundleError, TrainingError  # noqa: E402
from hashgrain.learn.backbones import Backbone, CompactBackbone, add_lora, build, merge_lora, set_trained  # noqa: E402
from hashgrain.learn.backbones import weights as weights_module  # noqa: E402
from hashgrain.learn.backbones.onnx_backbone import OnnxBackbone  # noqa: E402
from hashgrain.learn.backbones.weights import put_weights  # noqa: E402
from hashgrain.learn.backbones.zoo import ZooBackbone  # noqa: E402

pytestmark = pytest.mark.train

WIDTHS = {
    "timm:resnet18": 512,
    "timm:mobilenetv3_small_050": 1024,  # it says 288 of itself
    "timm:vit_tiny_patch16_224": 192,
    "torchvision:alexnet": 4096,
    "torchvision:squeezenet1_1": 512,
}


@pytest.fixture(scope="module")
def zoo() -> Callable[[str], Backbone]:
    """Random weights, drawn once a name; each test gets a copy of its own."""
    made: dict[str, Backbone] = {}

    def give(name: str) -> Backbone:
        if name not in made:
            torch.manual_seed(0)
            made[name] = build(name, size=64)
        return copy.deepcopy(made[name])

    return give


def pictures(n: int = 2, size: int = 64) -> Any:
    return torch.rand(n, 3, size, size, generator=torch.Generator().manual_seed(n))


def stir(network: nn.Module) -> None:
    """Random numbers in every parameter and statistic, so that no zero or one hides a fault."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            if tensor.is_floating_point():
                drawn = torch.randn(tensor.shape, generator=generator)
                tensor.copy_(drawn.abs() + 0.5 if name.endswith("running_var") else tensor + 0.02 * drawn)


# --- our own


def test_compact_has_the_weights_and_the_numbers_it_always_had() -> None:
    torch.manual_seed(3)
    convolutions = [nn.Conv2d(3, 4, 3, 2, 1, bias=False), nn.Conv2d(4, 6, 3, 2, 1, bias=False)]
    convolutions += [nn.Conv2d(6, 6, 3, 1, 1, bias=False), nn.Conv2d(6, 6, 3, 1, 1, bias=False)]
    convolutions += [nn.Conv2d(6, 5, 1, 1, 0, bias=False)]
    torch.manual_seed(3)
    backbone = CompactBackbone((4, 6), (0, 1), 5)
    state = backbone.state_dict()
    places = ("layers.0", "layers.2", "layers.4.first", "layers.4.second", "layers.5")
    norm = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    assert list(state) == [name for p in places for name in (f"{p}.0.weight", *(f"{p}.1.{part}" for part in norm))]
    for place, convolution in zip(places, convolutions, strict=True):
        assert torch.equal(state[f"{place}.0.weight"], convolution.weight)
    assert not state["layers.4.second.1.weight"].any()
    stir(backbone)
    for mode in (True, False):
        backbone.train(mode)
        one, other = backbone(pictures()), backbone.layers((pictures() - 0.45) / 0.25).mean(dim=(2, 3))
        assert torch.equal(one, other)


def test_compact_gives_the_pooled_maps_of_several_depths() -> None:
    torch.manual_seed(0)
    backbone = CompactBackbone((4, 6, 8), (0, 1, 1), 5, (2, 0)).eval()
    stir(backbone)
    assert backbone.widths == (5, 4)
    assert backbone.width == 9
    features = backbone(pictures())
    single = CompactBackbone((4, 6, 8), (0, 1, 1), 5).eval()
    single.load_state_dict(backbone.state_dict())
    assert single.widths == (5,)
    assert torch.equal(features[:, :5], single(pictures()))
    first = torch.relu(backbone.layers[0]((pictures() - 0.45) / 0.25))
    assert torch.equal(features[:, 5:], first.mean(dim=(2, 3)))


@pytest.mark.parametrize(
    "shape",
    [((), (), 5, ()), ((4,), (0, 1), 5, ()), ((4, 6), (0, 1), 0, ()), ((4,), (0,), 5, (1,)), ((4,), (0,), 5, (0, 0))],
)
def test_a_compact_shape_that_cannot_be_is_refused(shape: Any) -> None:
    with pytest.raises(TrainingError, match="compact backbone"):
        CompactBackbone(*shape)


def test_only_compact_has_depths() -> None:
    with pytest.raises(TrainingError, match="one depth"):
        build("timm:resnet18", size=64, depths=(1, 2))


# --- by name


@pytest.mark.parametrize("name", WIDTHS)
def test_width_is_what_comes_out_and_normalizing_is_inside(name: str, zoo: Callable[[str], Backbone]) -> None:
    backbone = zoo(name).eval()
    assert backbone.width == WIDTHS[name]
    with torch.no_grad():
        features = backbone(pictures())
        assert features.shape == (2, backbone.width)
        inner = backbone.model((pictures() - backbone.mean) / backbone.std)
    assert torch.equal(features, inner)
    half = name == "timm:vit_tiny_patch16_224"
    assert backbone.mean.flatten().tolist() == pytest.approx([0.5] * 3 if half else [0.485, 0.456, 0.406])
    assert backbone.std.flatten().tolist() == pytest.approx([0.5] * 3 if half else [0.229, 0.224, 0.225])
    assert not [name for name in backbone.state_dict() if name in ("mean", "std")]


def test_mean_and_std_can_be_those_of_the_weights() -> None:
    backbone = build("torchvision:squeezenet1_1", size=64, mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6))
    expected = (pictures() - torch.tensor([0.1, 0.2, 0.3])[:, None, None]) / torch.tensor([0.4, 0.5, 0.6])[
        :, None, None
    ]
    assert torch.allclose(backbone.normalized(pictures()), expected)
    with pytest.raises(TrainingError, match="mean and std"):
        build("compact", mean=(0.1, 0.2, 0.3))


def test_alexnet_gives_fc7_after_its_relu(zoo: Callable[[str], Backbone]) -> None:
    backbone = zoo("torchvision:alexnet").eval()
    model = backbone.model
    with torch.no_grad():
        taken = model.features(backbone.normalized(pictures()))
        fc6 = torch.relu(model.classifier[1](model.avgpool(taken).flatten(1)))
        fc7 = torch.relu(model.classifier[4](fc6))
        assert torch.equal(backbone(pictures()), fc7)


@pytest.mark.filterwarnings("ignore:The default weight initialization")
@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_classifiers_on_the_way_are_left_out(name: str) -> None:
    backbone = build(f"torchvision:{name}", size=96).train()
    assert backbone(pictures(size=96)).shape == (2, backbone.width)
    assert not [key for key in backbone.state_dict() if "aux" in key.lower()]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("timm:resnet81", "near it: .*resnet18"),
        ("timm:resnet18.a1_in2k", "near it: .*resnet18.a1_in1k"),
        ("timm:hf-hub:somebody/something", "timm has no model"),
        ("timm:local-dir:/tmp", "timm has no model"),
        ("torchvision:alxnet", "near it: .*alexnet"),
        ("torchvision:fasterrcnn_resnet50_fpn", "torchvision has no model"),
        ("timm:", "there are compact, timm:NAME"),
        ("keras:resnet50", "there are compact, timm:NAME"),
        ("compact:large", "there are compact, timm:NAME"),
        ("onnx:nowhere.onnx", "cannot read nowhere.onnx"),
    ],
)
def test_an_unknown_name_is_answered_with_near_ones(name: str, said: str) -> None:
    with pytest.raises(TrainingError, match=said):
        build(name)


def test_a_size_a_model_cannot_take_is_refused() -> None:
    with pytest.raises(TrainingError, match="cannot take pictures of 16 px"):
        build("torchvision:alexnet", size=16)


def test_given_features_are_passed_on() -> None:
    backbone = build("features", width=7)
    rows = torch.rand(3, 7)
    assert backbone.width == 7
    assert torch.equal(backbone(rows), rows)
    assert set_trained(backbone, "head") == {}
    with pytest.raises(TrainingError, match="give their width"):
        build("features", width=0)
    with pytest.raises(TrainingError, match="no weights"):
        build("features", width=7, weights="hub")


# --- weights


def published(name: str, path: Path, **changed: Any) -> dict[str, Any]:
    """What a file of published weights holds: the whole classifier."""
    model = timm.create_model(name, num_classes=10)
    stir(model)
    state = {**model.state_dict(), **changed}
    save_file({key: value for key, value in state.items() if value is not None}, path)
    return state


def test_weights_of_a_whole_classifier_are_loaded_under_its_head(tmp_path: Path) -> None:
    state = published("resnet18", tmp_path / "w.safetensors", **{"bn1.num_batches_tracked": None})
    backbone = build("timm:resnet18", size=64, weights=tmp_path / "w.safetensors")
    loaded = backbone.model.state_dict()
    assert not [name for name in loaded if name.startswith("fc.")]
    assert all(torch.equal(loaded[name], state[name]) for name in loaded if name != "bn1.num_batches_tracked")


def test_weights_of_torchvision_are_loaded_under_its_head(tmp_path: Path) -> None:
    model = torchvision.models.squeezenet1_1()
    save_file(model.state_dict(), tmp_path / "w.safetensors")
    backbone = build("torchvision:squeezenet1_1", size=64, weights=tmp_path / "w.safetensors").eval()
    with torch.no_grad():
        expected = model.eval().features(backbone.normalized(pictures())).mean(dim=(2, 3))
        assert torch.allclose(backbone(pictures()), expected, atol=1e-6)


@pytest.mark.parametrize("kept_at", [224, 64])
def test_a_transformer_is_resized_after_its_weights_are_in(kept_at: int, tmp_path: Path) -> None:
    kept = timm.create_model("vit_tiny_patch16_224", num_classes=0, img_size=kept_at).eval()
    save_file(kept.state_dict(), tmp_path / "w.safetensors")
    backbone = build("timm:vit_tiny_patch16_224", size=64, weights=tmp_path / "w.safetensors").eval()
    kept.set_input_size(img_size=64)
    with torch.no_grad():
        assert torch.equal(backbone(pictures()), kept(backbone.normalized(pictures())))


def test_compact_weights_come_back_from_a_file(tmp_path: Path) -> None:
    shape: dict[str, Any] = {"channels": (4, 6), "blocks": (0, 1), "width": 5}
    first = build("compact", **shape)
    stir(first)
    save_file(first.state_dict(), tmp_path / "w.safetensors")
    second = build("compact", **shape, weights=tmp_path / "w.safetensors")
    assert torch.equal(first.eval()(pictures()), second.eval()(pictures()))


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"conv_head.weight": None}, r"missing: conv_head\.weight"),
        ({"layer5.weight": torch.zeros(3)}, r"not of it: layer5\.weight"),
        ({"conv_stem.weight": torch.zeros(16, 3, 7, 7)}, r"another shape: conv_stem\.weight 16x3x7x7 for 16x3x3x3"),
        ({"bn1.weight": torch.zeros(16, dtype=torch.int64)}, r"of another kind: bn1\.weight torch\.int64"),
        ({f"fcc.{i}": torch.zeros(1) for i in range(9)}, r"not of it: fcc\.0, fcc\.1, fcc\.2 and 6 more"),
        ({"bn1.bias": torch.full((16,), float("nan"))}, r"not numbers: bn1\.bias"),
    ],
)
def test_weights_that_do_not_fit_are_named(changed: dict[str, Any], said: str, tmp_path: Path) -> None:
    published("mobilenetv3_small_050", tmp_path / "w.safetensors", **changed)
    with pytest.raises(TrainingError, match=said):
        build("timm:mobilenetv3_small_050", size=64, weights=tmp_path / "w.safetensors")


def test_weights_that_do_not_fit_change_nothing() -> None:
    network = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 4))
    before = copy.deepcopy(network.state_dict())
    offered = {name: torch.ones_like(value) for name, value in before.items()} | {"1.weight": torch.ones(9, 9)}
    with pytest.raises(TrainingError, match="another architecture"):
        put_weights(network, offered, "file")
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


class Bomb:
    def __reduce__(self) -> Any:
        return pytest.fail, ("the pickle was opened",)


@pytest.mark.parametrize("name", ["w.pt", "w.pth", "w.bin", "w.safetensors"])
def test_pickles_are_refused_unopened(name: str, tmp_path: Path) -> None:
    zipped = io.BytesIO()
    torch.save({"weight": torch.zeros(2)}, zipped)
    for content in (pickle.dumps(Bomb()), zipped.getvalue()):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(TrainingError, match=r"is a pickle.*convert"):
            build("compact", weights=tmp_path / name)


def headed(header: bytes, numbers: bytes = b"") -> bytes:
    return struct.pack("<Q", len(header)) + header + numbers


def tensor(start: int, end: int, shape: list[int]) -> dict[str, Any]:
    return {"dtype": "F32", "shape": shape, "data_offsets": [start, end]}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"GIF89a",
        struct.pack("<Q", 2**63) + b"{}",
        headed(b"{"),
        headed(json.dumps({"a": tensor(0, 8, [2])}).encode()),  # numbers that are not there
        headed(json.dumps({"a": tensor(0, 8, [3])}).encode(), bytes(8)),
        headed(json.dumps({"a": tensor(0, 8, [2]), "b": tensor(4, 12, [2])}).encode(), bytes(12)),
        headed(json.dumps({"a": tensor(0, 8, [2])}).encode(), bytes(99)),
        headed(json.dumps({"a": tensor(0, 0, [2**62, 2**62])}).encode()),
        headed(b"[" * 100_000),
    ],
)
def test_hostile_and_damaged_files_are_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "w.safetensors").write_bytes(content)
    with pytest.raises(TrainingError, match="not a safetensors file"):
        build("compact", weights=tmp_path / "w.safetensors")


def test_files_that_are_missing_or_too_large_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for missing in (tmp_path / "none.safetensors", tmp_path):
        with pytest.raises(TrainingError, match="no weights at"):
            build("compact", weights=missing)
    save_file({"a": torch.zeros(2)}, tmp_path / "w.safetensors")
    monkeypatch.setattr(weights_module, "MAX_BYTES", 10)
    with pytest.raises(TrainingError, match="larger than"):
        build("compact", weights=tmp_path / "w.safetensors")


def test_without_a_network_the_remedy_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*given: Any, **settings: Any) -> None:
        raise URLError("no route to host")

    monkeypatch.setattr(torch.hub, "download_url_to_file", unreachable)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr("timm.models._builder.load_state_dict_from_hf", unreachable)
    for name in ("torchvision:squeezenet1_1", "timm:resnet18"):
        with pytest.raises(TrainingError, match=f"{name} could not be downloaded.*no route.*safetensors"):
            build(name, size=64, weights="hub")
    with pytest.raises(TrainingError, match="published nowhere"):
        build("compact", weights="hub")


# --- what is trained


def step(backbone: Backbone) -> dict[str, bool]:
    """Whether each number of the state changed by one step of training."""
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    backbone.train()
    features = backbone(pictures(4))
    if features.requires_grad:
        features.square().mean().backward()
        torch.optim.SGD([p for p in backbone.parameters() if p.requires_grad], 0.1).step()
    return {name: not torch.equal(value, before[name]) for name, value in backbone.state_dict().items()}


@pytest.mark.parametrize("name", ["timm:resnet18", "timm:mobilenetv3_small_050", "torchvision:squeezenet1_1"])
def test_head_changes_nothing_of_the_backbone(name: str, zoo: Callable[[str], Backbone]) -> None:
    backbone = zoo(name)
    assert set_trained(backbone, "head") == {}
    assert not any(step(backbone).values())  # neither weights nor statistics of batches


@pytest.mark.parametrize(
    ("name", "last"),
    [
        ("timm:resnet18", "model.layer4."),
        ("timm:vit_tiny_patch16_224", ("model.blocks.11.", "model.norm.")),
        ("torchvision:squeezenet1_1", "model.features.12."),
    ],
)
def test_last_changes_the_last_stage_alone(name: str, last: Any, zoo: Callable[[str], Backbone]) -> None:
    backbone = zoo(name)
    stir(backbone)
    groups = set_trained(backbone, "last")
    trained = [name for group in groups.values() for name in group]
    assert trained == [name for name, _ in backbone.named_parameters() if name.startswith(last)]
    changed = step(backbone)
    assert [name for name, did in changed.items() if did and not name.startswith(last)] == []
    assert [name for name in trained if not changed[name]] == []
    statistics = [did for name, did in changed.items() if name.startswith(last) and "running" in name]
    assert all(statistics)  # what is trained does take them


def test_the_last_stage_of_compact_holds_its_blocks_and_its_widening() -> None:
    backbone = build("compact", channels=(4, 6), blocks=(0, 1), width=5)
    (group,) = set_trained(backbone, "last").values()
    assert {name.split(".")[1] for name in group} == {"2", "4", "5"}
    assert list(set_trained(backbone, "last", stages=2)) == ["stage 0", "stage 1"]


def test_all_trains_every_parameter_and_runs_as_ever(zoo: Callable[[str], Backbone]) -> None:
    backbone = zoo("timm:resnet18")
    set_trained(backbone, "head")
    groups = set_trained(backbone, "all")
    assert len(groups) == 5
    assert [name for group in groups.values() for name in group] == [name for name, _ in backbone.named_parameters()]
    assert all(module.training for module in backbone.train().modules())


def test_frozen_features_are_without_noise_of_dropout(zoo: Callable[[str], Backbone]) -> None:
    backbone = zoo("torchvision:alexnet").train()
    assert set_trained(backbone, "last") == {"stage 6": ["model.classifier.4.weight", "model.classifier.4.bias"]}
    set_trained(backbone, "all")
    assert not torch.equal(backbone(pictures()), backbone(pictures()))
    set_trained(backbone, "head")  # rests at once, and after every later train()
    for _ in range(2):
        assert torch.equal(backbone(pictures()), backbone(pictures()))
        nn.Sequential(backbone).train()


def test_statistics_without_weights_rest_beside_what_is_frozen() -> None:
    inner = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, affine=False), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    backbone = ZooBackbone(inner, "small", size=8, mean=(0.0,) * 3, std=(1.0,) * 3)
    set_trained(backbone, "lora", rank=1)
    assert not step(backbone)["model.1.running_mean"]
    merge_lora(backbone)
    set_trained(backbone, "all")
    assert step(backbone)["model.1.running_mean"]


@pytest.mark.parametrize(
    ("trained", "settings", "said"),
    [("some", {}, "head, last, lora, all"), ("last", {"stages": 9}, "2 stages"), ("last", {"stages": 0}, "2 stages")],
)
def test_a_part_that_is_not_there_cannot_be_trained(trained: Any, settings: dict[str, int], said: str) -> None:
    with pytest.raises(TrainingError, match=said):
        set_trained(build("compact", channels=(4, 6), blocks=(0, 0), width=5), trained, **settings)


# --- adapters


class Attentive(Backbone):
    """torchvision's transformer, small: its attention never calls the layers whose weights it uses."""

    def __init__(self) -> None:
        super().__init__(16, (0.5,) * 3, (0.5,) * 3)
        self.model = torchvision.models.VisionTransformer(64, 16, 2, 2, 16, 32, num_classes=3)
        self.model.heads = nn.Identity()
        stir(self)

    def forward(self, pixels: Any) -> Any:
        return self.model(self.normalized(pixels))


@pytest.mark.parametrize(
    "name", ["attentive", "timm:resnet18", "timm:mobilenetv3_small_050", "timm:vit_tiny_patch16_224"]
)
def test_adapters_change_nothing_at_first_and_merge_into_what_they_learned(
    name: str, zoo: Callable[[str], Backbone]
) -> None:
    torch.manual_seed(0)
    backbone = Attentive() if name == "attentive" else zoo(name)
    stir(backbone)
    built = list(backbone.state_dict())
    with torch.no_grad():
        before = backbone.eval()(pictures())
        (group,) = set_trained(backbone, "lora", rank=2).values()
        assert torch.equal(backbone(pictures()), before)

    assert group == [name for name, parameter in backbone.named_parameters() if parameter.requires_grad]
    assert {name.rsplit(".", 1)[1] for name in group} == {"up", "down"}
    changed = step(backbone)
    # No adapter is passed by: each `up` learned. (`down` learns once `up` is no longer zero.)
    assert [name for name in group if name.endswith(".up") and not changed[name]] == []
    assert [name for name, did in changed.items() if did and name not in group] == []
    stir_adapters(backbone, group)

    with torch.no_grad():
        adapted = backbone.eval()(pictures())
        merge_lora(backbone)
        merged = backbone(pictures())
    assert not torch.allclose(adapted, before, rtol=1e-3, atol=1e-5)
    assert torch.allclose(merged, adapted, rtol=1e-5, atol=1e-6)
    assert sorted(backbone.state_dict()) == sorted(built)
    assert not any(parameter.requires_grad for parameter in backbone.parameters())


def stir_adapters(backbone: Backbone, group: list[str]) -> None:
    with torch.no_grad():
        for name in group:
            backbone.get_parameter(name).normal_(0, 0.05)


@pytest.mark.parametrize("layer", [nn.Linear(20, 30), nn.Conv2d(20, 30, 1), nn.Conv2d(20, 30, 3, groups=2)])
def test_an_adapter_is_its_formula(layer: nn.Module) -> None:
    layer = copy.deepcopy(layer)
    weight = layer.weight.detach().clone()
    names = add_lora(layer, 3, 6.0)
    stir_adapters(layer, names)  # type: ignore[arg-type]
    up, down = (layer.get_parameter(f"parametrizations.weight.0.{part}") for part in ("up", "down"))
    assert (up.shape, down.shape) == ((30, 3), (3, weight[0].numel()))
    expected = weight.flatten(1) + 6.0 / 3 * up @ down
    assert torch.allclose(layer.weight.flatten(1), expected)


def test_adapters_that_make_no_sense_are_refused() -> None:
    backbone = build("compact", channels=(4, 6), blocks=(0, 0), width=5)
    with pytest.raises(TrainingError, match="rank 0"):
        add_lora(backbone, 0)
    with pytest.raises(TrainingError, match="large enough"):
        add_lora(backbone, 500)
    add_lora(backbone, 1)
    with pytest.raises(TrainingError, match="already"):
        add_lora(backbone, 1)


# --- ONNX


def onnx_model(
    *,
    shape: tuple[Any, ...] = ("n", 3, 16, 16),
    activation: str = "Relu",
    pooled: bool = True,
    as_bytes: bool = False,
    second: str = "",
) -> bytes:
    """A convolution to 5 channels, in floats or from bytes; Softplus is an activation that torch cannot follow here."""
    dice = np.random.default_rng(0)
    held = [numpy_helper.from_array(dice.normal(size=(5, 3, 3, 3)).astype(np.float32), "weight")]
    nodes, x = [], "pixels"
    if as_bytes:
        held.append(numpy_helper.from_array(np.float32(100), "hundred"))
        nodes.append(helper.make_node("Cast", ["pixels"], ["floats"], to=TensorProto.FLOAT))
        nodes.append(helper.make_node("Div", ["floats", "hundred"], ["scaled"]))
        nodes.append(helper.make_node("Transpose", ["scaled"], ["turned"], perm=[0, 3, 1, 2]))
        x = "turned"
    nodes.append(helper.make_node("Conv", [x, "weight"], ["convolved"]))
    nodes.append(helper.make_node(activation, ["convolved"], ["map"]))
    if pooled:
        nodes.append(helper.make_node("GlobalAveragePool", ["map"], ["averaged"]))
        nodes.append(helper.make_node("Flatten", ["averaged"], ["rows"]))
    nodes.append(helper.make_node("Identity", ["rows" if pooled else "map"], ["vectors"]))
    if second:
        nodes.append(helper.make_node("Identity", ["vectors"], [second]))
    taken = helper.make_tensor_value_info("pixels", TensorProto.UINT8 if as_bytes else TensorProto.FLOAT, shape)
    given = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("vectors", second) if name]
    graph = helper.make_graph(nodes, "tiny", [taken], given, held)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    return bytes(model.SerializeToString())


def expected_features(taken: Any, activation: str) -> Any:
    weight = torch.from_numpy(np.random.default_rng(0).normal(size=(5, 3, 3, 3)).astype(np.float32))
    convolved = nn.functional.conv2d(taken, weight)
    return (torch.relu(convolved) if activation == "Relu" else nn.functional.softplus(convolved)).mean(dim=(2, 3))


@pytest.mark.parametrize("activation", ["Relu", "Softplus"])
@pytest.mark.parametrize("pooled", [True, False])
def test_a_float_model_is_shown_normalized_pictures(activation: str, pooled: bool, tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(onnx_model(activation=activation, pooled=pooled))
    name = f"onnx:{tmp_path / 'm.onnx'}"
    backbone = build(name, size=16, mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6))
    assert isinstance(backbone, OnnxBackbone)
    assert backbone.width == 5
    mean, std = (torch.tensor(colors)[:, None, None] for colors in ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6)))
    expected = expected_features((pictures(3, 16) - mean) / std, activation)
    for copied in (backbone, copy.deepcopy(backbone).train()):
        assert torch.allclose(copied(pictures(3, 16)), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("activation", ["Relu", "Softplus"])
def test_a_model_of_bytes_is_shown_bytes(activation: str) -> None:
    content = onnx_model(shape=("n", 16, 16, 3), activation=activation, as_bytes=True)
    backbone = OnnxBackbone(content, "model", size=16)
    whole = torch.randint(0, 256, (3, 3, 16, 16), generator=torch.Generator().manual_seed(0))
    expected = expected_features(whole / 100, activation)
    assert torch.allclose(backbone(whole / 255), expected, rtol=1e-4, atol=1e-4)


def test_gradients_reach_the_pixels_where_torch_follows() -> None:
    pixels = pictures(2, 16).requires_grad_()
    OnnxBackbone(onnx_model(), "model", size=16)(pixels).sum().backward()
    assert pixels.grad.abs().sum() > 0
    assert not OnnxBackbone(onnx_model(activation="Softplus"), "model", size=16)(pixels).requires_grad


@pytest.mark.parametrize("activation", ["Relu", "Softplus"])
def test_a_model_for_one_picture_is_shown_one_at_a_time(activation: str) -> None:
    backbone = OnnxBackbone(onnx_model(shape=(1, 3, 16, 16), activation=activation), "model", size=16)
    free = OnnxBackbone(onnx_model(activation=activation), "model", size=16)
    assert torch.allclose(backbone(pictures(3, 16)), free(pictures(3, 16)), atol=1e-6)


def test_of_several_outputs_the_one_named_features_is_taken() -> None:
    assert OnnxBackbone(onnx_model(second="features"), "model", size=16).width == 5
    with pytest.raises(TrainingError, match="gives vectors, others: name the one"):
        OnnxBackbone(onnx_model(second="others"), "model", size=16)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"no model", "not an ONNX model"),
        (onnx_model(shape=("n", 3, 32, 32)), "of 32x32 px, not of 16"),
        (onnx_model(shape=(4, 3, 16, 16)), "4 pictures at a time"),
        (onnx_model(shape=("n", 3, "h", "w"), activation="Softmax", as_bytes=True), r"takes tensor\(uint8\)"),
    ],
)
def test_a_model_that_cannot_be_a_backbone_is_refused(content: bytes, said: str) -> None:
    with pytest.raises(TrainingError, match=said):
        OnnxBackbone(content, "model", size=16)


def test_an_onnx_backbone_is_frozen() -> None:
    backbone = OnnxBackbone(onnx_model(), "model", size=16)
    assert set_trained(backbone, "head") == {}
    for trained in ("last", "lora", "all"):
        with pytest.raises(TrainingError, match="no weights to train"):
            set_trained(backbone, trained)


def test_a_bundle_gives_the_features_under_its_head(tmp_path: Path) -> None:
    backbone = build("bundle:default", size=64)
    whole = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), np.uint8)
    _, expected = Encoder.load("default").outputs_and_features(whole)
    found = backbone(torch.from_numpy(whole).permute(0, 3, 1, 2) / 255)
    assert found.shape == (3, backbone.width)
    assert np.allclose(found.numpy(), expected, rtol=1e-3, atol=1e-3)
    with pytest.raises(BundleError, match="no model bundle"):
        build(f"bundle:{tmp_path / 'none'}")
    with pytest.raises(TrainingError, match="bundle:"):
        build(f"onnx:{tmp_path}")
