"""Smaller models: integers give the same codes on every machine, halves change nothing but rounding, what is pruned
computes what its mask does, and several models are their average."""

from __future__ import annotations

import copy
import dataclasses
import json
import platform
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from conftest import ROOT, make_picture

if TYPE_CHECKING:
    from torch import Tensor

torch = pytest.importorskip("torch", reason="needs the train extra")
onnx = pytest.importorskip("onnx", reason="needs the train extra")

from onnx import numpy_helper  # noqa: E402

from hashgrain import Encoder, Grains  # noqa: E402
from hashgrain.errors import TrainingError  # noqa: E402
from hashgrain.graphs.agreement import agreement  # noqa: E402
from hashgrain.graphs.ensemble import average  # noqa: E402
from hashgrain.graphs.half import halve  # noqa: E402
from hashgrain.graphs.int8 import quantize  # noqa: E402
from hashgrain.learn.backbones.compact import CompactBackbone  # noqa: E402
from hashgrain.learn.export import to_onnx  # noqa: E402
from hashgrain.learn.training.network import HashHead, HashNetwork  # noqa: E402
from hashgrain.learn.training.prune import (  # noqa: E402
    Importance,
    Selection,
    by_taylor,
    choose,
    prune,
)
from hashgrain.models import Bundle  # noqa: E402

pytestmark = pytest.mark.train

SIZE = 16
GRAINS = Grains(kind=8, look=32)
PIXELS = np.stack([np.asarray(make_picture(seed, (SIZE, SIZE))) for seed in range(48)])


def as_floats(pixels: np.ndarray) -> Tensor:
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255


def tiny(seed: int = 0) -> HashNetwork:
    """A network with statistics of its own, whose blocks do something."""
    torch.manual_seed(seed)
    network = HashNetwork(CompactBackbone((8, 16), (1, 2), 24), HashHead(24, GRAINS.bits))
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.2, 1.5)
            torch.nn.init.uniform_(module.bias, -0.3, 0.3)
    network.train()
    for module in network.modules():
        if isinstance(module, (torch.nn.BatchNorm1d, torch.nn.BatchNorm2d)):
            module.momentum = None
    with torch.no_grad():
        network(as_floats(PIXELS))
    return network.eval()


def outputs_of(network: HashNetwork) -> Tensor:
    with torch.no_grad():
        return network(as_floats(PIXELS))[0]


def bundle_of(network: HashNetwork, name: str = "tiny") -> Bundle:
    return Bundle(name, to_onnx(network, SIZE), GRAINS, (SIZE, SIZE), training={"seed": 1})


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return bundle_of(tiny())


@pytest.fixture(scope="module")
def other(bundle: Bundle) -> Bundle:
    """Another head on the same features: cheaper to have than another export."""
    model = onnx.load_from_string(bundle.onnx)
    (head,) = (t for t in model.graph.initializer if t.name.endswith("bits.weight"))
    head.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(head)[::-1].copy(), head.name))
    return dataclasses.replace(bundle, name="other", onnx=model.SerializeToString())


@pytest.fixture(scope="module")
def small(bundle: Bundle) -> Bundle:
    return quantize(bundle, PIXELS)


def initializers(bundle: Bundle) -> dict[str, np.ndarray]:
    return {t.name: numpy_helper.to_array(t) for t in onnx.load_from_string(bundle.onnx).graph.initializer}


def test_integer_models_keep_most_bits_and_say_how_many(bundle: Bundle, small: Bundle) -> None:
    same = Encoder(small).codes(PIXELS).bits() == Encoder(bundle).codes(PIXELS).bits()
    assert same.mean() > 0.95
    facts = json.loads(json.dumps(small.training))
    assert facts["seed"] == 1
    assert facts["int8"]["of"] == bundle.digest
    assert facts["int8"]["bits"] == pytest.approx({"kind": same[:, :8].mean(), "look": same.mean()}, abs=1e-6)
    assert (small.name, small.digest != bundle.digest) == ("tiny-int8", True)


def test_the_same_pictures_calibrate_the_same_model(bundle: Bundle, small: Bundle) -> None:
    assert quantize(bundle, PIXELS).digest == small.digest
    assert quantize(bundle, PIXELS[:40]).digest != small.digest  # and a last batch may be shorter


def test_integer_weights_cannot_overflow_where_there_is_no_vnni(small: Bundle) -> None:
    """Two products of an unsigned byte and a weight are added in 16 bits there: 8-bit weights give other codes."""
    kernels = [table for table in initializers(small).values() if table.dtype == np.int8 and table.ndim == 4]
    assert len(kernels) == 2 * 3 + 2  # of the blocks, the second stage and the last one
    assert max(np.abs(kernel.astype(int)).max() for kernel in kernels) * 2 * 255 < 2**15


def test_first_convolution_and_head_stay_in_float(small: Bundle) -> None:
    nodes = onnx.load_from_string(small.onnx).graph.node
    made_by = {output: node.op_type for node in nodes for output in node.output}
    fed = [[made_by.get(name) for name in node.input] for node in nodes if node.op_type in ("Conv", "Gemm")]
    assert not any("DequantizeLinear" in inputs for inputs in (fed[0], fed[-1][1:]))
    assert all(inputs[:2] == ["DequantizeLinear"] * 2 for inputs in fed[1:-1])


def test_what_cannot_be_quantized_is_refused(bundle: Bundle) -> None:
    with pytest.raises(TrainingError, match="uint8 pictures"):
        quantize(bundle, PIXELS.astype(np.float32))
    with pytest.raises(TrainingError, match="at least one"):
        halve(bundle, PIXELS[:0])
    lone = HashNetwork(torch.nn.Sequential(torch.nn.Conv2d(3, 24, SIZE), torch.nn.Flatten()), HashHead(24, GRAINS.bits))
    with pytest.raises(TrainingError, match="no convolutions after its first"):
        quantize(bundle_of(lone.eval()), PIXELS)


def test_halves_are_half_the_file_and_lose_rounding_alone(bundle: Bundle) -> None:
    halved = halve(bundle, PIXELS)
    weights = {name: table for name, table in initializers(bundle).items() if table.ndim >= 2}
    saved = sum(table.nbytes for table in weights.values()) / 2
    assert len(bundle.onnx) - len(halved.onnx) > 0.85 * saved  # the rest are the casts
    model = onnx.load_from_string(bundle.onnx)
    for tensor in model.graph.initializer:
        if tensor.name in weights:
            tensor.CopyFrom(numpy_helper.from_array(weights[tensor.name].astype("f2").astype("f4"), tensor.name))
    rounded = dataclasses.replace(bundle, onnx=model.SerializeToString())
    np.testing.assert_array_equal(Encoder(halved).outputs(PIXELS), Encoder(rounded).outputs(PIXELS))
    assert halved.training["half"]["bits"]["look"] > 0.99


def test_casts_of_halves_are_done_when_the_model_is_loaded(bundle: Bundle, tmp_path: Path) -> None:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "loaded.onnx")
    options.log_severity_level = 4
    onnxruntime.InferenceSession(halve(bundle, PIXELS[:1]).onnx, options, providers=["CPUExecutionProvider"])
    loaded = onnx.load(tmp_path / "loaded.onnx").graph
    assert [node.op_type for node in loaded.node].count("Cast") == 1  # that of the pixels
    assert not any(tensor.data_type == onnx.TensorProto.FLOAT16 for tensor in loaded.initializer)


def test_weights_too_large_for_halves_stay(bundle: Bundle) -> None:
    model = onnx.load_from_string(bundle.onnx)
    (head,) = (t for t in model.graph.initializer if t.name.endswith("bits.weight"))
    head.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(head) * np.float32(1e6), head.name))
    large = dataclasses.replace(bundle, onnx=model.SerializeToString())
    assert initializers(halve(large, PIXELS))[head.name].dtype == np.float32
    with pytest.raises(TrainingError, match="nothing to halve"):
        halve(dataclasses.replace(bundle, onnx=_without_weights(bundle)), PIXELS)


def _without_weights(bundle: Bundle) -> bytes:
    model = onnx.load_from_string(bundle.onnx)
    kept = [t for t in model.graph.initializer if len(t.dims) < 2]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
    return bytes(model.SerializeToString())


def masked(network: HashNetwork, kept: Selection) -> HashNetwork:
    """The whole network, with what is not kept held at zero."""
    whole = copy.deepcopy(network)
    for name, channels in kept.channels.items():
        block = whole.get_submodule(name)
        mask = torch.zeros(block.first[1].num_features, 1, 1)
        mask[list(channels)] = 1
        block.second.register_forward_pre_hook(lambda _, given, mask=mask: (given[0] * mask,))
        if not channels:
            block.second.register_forward_hook(lambda _, given, result: result * 0)
    return whole


KEPT = Selection({"backbone.layers.2": (1, 4, 6), "backbone.layers.5": (), "backbone.layers.6": (0, 15)})


def test_a_pruned_network_computes_what_its_mask_does() -> None:
    network = tiny()
    before = copy.deepcopy(network.state_dict())
    pruned = prune(network, KEPT)
    assert not torch.allclose(outputs_of(pruned), outputs_of(network), atol=0.1)  # the mask is not idle
    torch.testing.assert_close(outputs_of(pruned), outputs_of(masked(network, KEPT)), atol=1e-4, rtol=1e-4)
    assert sum(p.numel() for p in pruned.parameters()) < 0.6 * sum(p.numel() for p in network.parameters())
    assert all(torch.equal(values, before[name]) for name, values in network.state_dict().items())
    exported = Encoder(bundle_of(pruned)).outputs(PIXELS)
    np.testing.assert_allclose(exported, outputs_of(pruned), atol=1e-4)


def test_a_pruned_network_is_built_again_from_what_it_kept_and_its_weights() -> None:
    pruned = prune(tiny(), KEPT)
    recorded = Selection(json.loads(json.dumps(KEPT.channels)))
    again = prune(tiny(1), recorded)
    again.load_state_dict(pruned.state_dict())
    assert torch.equal(outputs_of(again), outputs_of(pruned))


def test_a_pruned_network_can_be_trained_on() -> None:
    pruned = prune(tiny().train(), KEPT)
    assert all(module.training for module in pruned.modules())
    pruned(as_floats(PIXELS))[0].square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in pruned.parameters())


def test_taylor_is_the_squared_first_order_move_of_the_outputs() -> None:
    """Against one backward pass for each picture and output; the random probes need many pictures to say the same."""
    network, pixels = tiny(), PIXELS[:2]
    seen: dict[str, Any] = {}
    block = network.backbone.layers[2]
    block.second.register_forward_hook(lambda _, given, result: seen.update(inner=given[0], branch=result))
    channels, whole = np.zeros(8), 0.0
    for picture in as_floats(pixels):
        outputs = network(picture[None])[0][0]
        for output in outputs:
            slopes = torch.autograd.grad(output, [seen["inner"], seen["branch"]], retain_graph=True)
            channels += (seen["inner"] * slopes[0]).sum(dim=(0, 2, 3)).square().detach().numpy() / len(pixels)
            whole += (seen["branch"] * slopes[1]).sum().square().item() / len(pixels)
    block.second._forward_hooks.clear()
    found = by_taylor(network, np.repeat(pixels, 1000, axis=0))
    np.testing.assert_allclose(found.channels["backbone.layers.2"], channels, rtol=0.15)
    assert found.blocks["backbone.layers.2"] == pytest.approx(whole, rel=0.15)
    again = by_taylor(network, np.repeat(pixels, 1000, axis=0))
    assert again.blocks == found.blocks


def test_taylor_works_on_frozen_networks_and_leaves_them_alone() -> None:
    network = tiny().requires_grad_(False).train()
    before = copy.deepcopy(network.state_dict())
    importance = by_taylor(network, PIXELS[:3])
    assert min(importance.blocks.values()) > 0
    assert network.training
    assert all(torch.equal(values, before[name]) for name, values in network.state_dict().items())
    assert not any(part._forward_hooks for part in network.modules())


def test_the_most_important_are_kept() -> None:
    scores = {"a": np.arange(32.0), "b": np.array([3.0, 1.0, 2.0]), "c": np.ones(16)}
    importance = Importance(scores, {"a": 2.0, "b": 3.0, "c": 1.0})
    assert choose(importance, 1.0).channels == {"a": tuple(range(32)), "b": (0, 1, 2), "c": tuple(range(16))}
    half = choose(importance, 0.4, drop_blocks=1).channels
    assert half == {"a": tuple(range(16, 32)), "b": (0, 1, 2), "c": ()}  # 12.8 rounds up to a multiple of 8
    for share, drop in ((0, 0), (1.5, 0), (0.5, 4)):
        with pytest.raises(TrainingError, match="cannot be"):
            choose(importance, share, drop_blocks=drop)


def test_what_cannot_be_pruned_is_refused() -> None:
    with pytest.raises(TrainingError, match="no residual blocks"):
        by_taylor(HashNetwork(CompactBackbone((8,), (0,), 24), HashHead(24, 32)), PIXELS)
    with pytest.raises(TrainingError, match="network it was chosen for"):
        prune(tiny(), Selection({"backbone.layers.2": (1,)}))
    with pytest.raises(TrainingError, match="cannot keep"):
        prune(tiny(), Selection({**KEPT.channels, "backbone.layers.2": (8,)}))
    with pytest.raises(TrainingError, match="there are none"):
        by_taylor(tiny(), PIXELS[:0])


def test_an_average_gives_the_mean_of_the_outputs_and_all_features(
    bundle: Bundle, other: Bundle, small: Bundle
) -> None:
    together = average([bundle, other, small])
    found, features = Encoder(together).outputs_and_features(PIXELS)
    parts = [Encoder(one).outputs_and_features(PIXELS) for one in (bundle, other, small)]
    np.testing.assert_allclose(found, np.mean([outputs for outputs, _ in parts], axis=0), atol=1e-5)
    np.testing.assert_allclose(features, np.concatenate([wide for _, wide in parts], axis=1), atol=1e-5)
    assert [part["digest"] for part in together.training["average of"]] == [bundle.digest, other.digest, small.digest]
    onnx.checker.check_model(onnx.load_from_string(together.onnx))


def test_models_that_do_not_fit_are_not_averaged(bundle: Bundle) -> None:
    with pytest.raises(TrainingError, match="two models or more"):
        average([bundle])
    with pytest.raises(TrainingError, match="same grains and input size"):
        average([bundle, dataclasses.replace(bundle, grains=Grains(look=32))])
    with pytest.raises(TrainingError, match="same grains and input size"):
        agreement(bundle, dataclasses.replace(bundle, size=(32, 32)), PIXELS)
    model = onnx.load_from_string(bundle.onnx)
    model.opset_import[0].version = 17
    with pytest.raises(TrainingError, match="17 of the ONNX operators"):
        average([bundle, dataclasses.replace(bundle, onnx=model.SerializeToString())])


LEAFS = """
#include <cpuid.h>
#include <stdio.h>
int main(void) {
    unsigned a, b, c, d;
    __cpuid_count(7, 0, a, b, c, d);
    printf("%u %u %u ", b >> 16 & 1, c >> 11 & 1, d >> 24 & 3);
    printf("%u ", b >> 5 & 1);
    __cpuid_count(7, 1, a, b, c, d);
    printf("%u", a >> 4 & 3);
    return 0;
}
"""


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64") or shutil.which("cc") is None, reason="needs cc, x86")
def test_the_preloaded_library_hides_vnni_and_nothing_of_avx2(tmp_path: Path) -> None:
    (tmp_path / "leafs.c").write_text(LEAFS)
    subprocess.run(["cc", "-o", tmp_path / "leafs", tmp_path / "leafs.c"], check=True)
    library = tmp_path / "no_vnni.so"
    subprocess.run(["cc", "-O2", "-shared", "-fPIC", "-o", library, ROOT / "benchmarks/no_vnni.c"], check=True)
    plain = subprocess.run([tmp_path / "leafs"], capture_output=True, text=True, check=True).stdout.split()
    hidden = subprocess.run([tmp_path / "leafs"], capture_output=True, text=True, env={"LD_PRELOAD": str(library)})
    if hidden.returncode == 78:
        pytest.skip(hidden.stderr)
    assert hidden.stdout.split() == ["0", "0", "0", plain[3], "0"]
