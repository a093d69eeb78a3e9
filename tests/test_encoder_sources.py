"""Networks of others: whatever their format, they give the features they give in their own library."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from hashgrain.errors import TrainingError
from made_networks import (
    COLORS,
    LENGTH,
    PATCH,
    SIDE,
    SPACE,
    in_cache,
    numbers,
    onnx_pair,
    open_clip_folder,
    projection,
    save_onnx,
    text_onnx,
    timm_folder,
    vision_onnx,
    write_json,
)

pytest.importorskip("torch", reason="needs the train extra")
pytest.importorskip("timm", reason="needs the train extra")
pytestmark = pytest.mark.train

from hashgrain.learn.encoders.network import Network  # noqa: E402
from hashgrain.learn.encoders.sources import network_of  # noqa: E402
from hashgrain.models.graph_check import check_graph  # noqa: E402

COMMIT = "0123456789abcdef0123456789abcdef01234567"
DINO = "vit_small_patch14_reg4_dinov2"
DINO_SIZE = {"depth": 2, "embed_dim": 48, "num_heads": 3, "img_size": 28}


def taken(source: str | Path, size: int | None = None, download: bool = False) -> Network:
    return network_of(str(source), size, download, lambda text: None)


def pictures(size: int, count: int = 3) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (count, size, size, 3), np.uint8)


def run(network: Network, pixels: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
    import onnxruntime

    session = onnxruntime.InferenceSession(network.graph, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {"pixels": pixels}), strict=True))


def planes(pixels: NDArray[np.uint8], mean: Any, std: Any) -> Any:
    import torch

    unit = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
    return (unit - torch.tensor(mean).view(1, 3, 1, 1)) / torch.tensor(std).view(1, 3, 1, 1)


def same(found: NDArray[Any], expected: NDArray[Any]) -> bool:
    return bool(np.allclose(found, expected, rtol=1e-4, atol=1e-5 * max(1e-3, float(np.abs(expected).max()))))


def test_a_vit_in_the_shape_of_dinov2_gives_its_class_token_and_a_map_of_its_patches(tmp_path: Path) -> None:
    import torch

    model = timm_folder(tmp_path, DINO, DINO_SIZE)
    network = taken(f"folder:{tmp_path}", size=42)  # its positions are 2 x 2, and are stretched to 3 x 3
    pixels = pictures(42)
    found = run(network, pixels)
    model.set_input_size(img_size=42)
    model.reset_classifier(0)
    with torch.no_grad():
        shown = planes(pixels, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
        tokens = model.forward_features(shown)
        expected = model.forward_head(tokens)
    assert same(found["features"], expected.numpy())
    assert same(found["features"], tokens[:, 0].numpy())
    patches = tokens[:, 5:].reshape(3, 3, 3, 48).permute(0, 3, 1, 2)  # after a class token and four registers
    assert same(found["map"], patches.numpy())
    assert network.source["feature"] == "first token (CLS), after the last norm"
    assert (network.size, network.width, network.text) == (42, 48, None)
    check_graph(network.graph, "it")
    lock = network.source
    weights = hashlib.sha256((tmp_path / "model.safetensors").read_bytes()).hexdigest()
    assert lock["files"]["model.safetensors"] == weights
    assert set(lock["files"]) == {"config.json", "model.safetensors"}
    assert lock["license"] == "apache-2.0"
    assert lock["preprocessing"]["mean"] == [0.485, 0.456, 0.406]
    assert lock["preprocessing"]["size"] == 42
    assert "bicubic" in lock["preprocessing"]["resized by the source"]
    assert (lock["dimension"], lock["architecture"]) == (48, DINO)


def test_a_convolutional_network_keeps_its_map_and_takes_pictures_of_any_size(tmp_path: Path) -> None:
    import torch

    model = timm_folder(tmp_path, "test_resnet", {})
    network = taken(f"folder:{tmp_path}", size=64)
    model.reset_classifier(0)
    for size in (64, 96):
        found = run(network, pictures(size))
        way = network.source["preprocessing"]
        with torch.no_grad():
            cells = model.forward_features(planes(pictures(size), way["mean"], way["std"]))
        assert same(found["map"], cells.numpy())
        assert same(found["features"], cells.mean(dim=(2, 3)).numpy())
    assert network.source["sizes"] == "any"


def test_a_repository_of_the_hugging_face_cache_is_found_by_its_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    in_cache(tmp_path / "cache", "someone/pair", COMMIT, onnx_pair(tmp_path / "pair"))
    network = taken(f"hf:someone/pair@{COMMIT}")
    beside = taken(f"folder:{tmp_path / 'pair'}")
    assert (network.graph, network.text) == (beside.graph, beside.text)
    assert network.source == {**beside.source, "source": f"hf:someone/pair@{COMMIT}"}
    refuses("someone/pair at 9{12} is not in the .* cache .* download=True, or bring", f"hf:someone/pair@{'9' * 40}")


def test_a_name_of_timm_is_looked_for_in_the_cache_and_its_commit_is_noted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    timm_folder(tmp_path / "it", "test_vit", {})
    with pytest.raises(TrainingError, match=r"timm/test_vit.r160_in1k is not in the .* cache"):
        taken("timm:test_vit.r160_in1k")
    in_cache(tmp_path / "cache", "timm/test_vit.r160_in1k", COMMIT, tmp_path / "it")
    network = taken("timm:test_vit.r160_in1k", size=32)
    assert network.source["repository"] == f"timm/test_vit.r160_in1k@{COMMIT}"
    assert network.size == 32


def test_nothing_is_fetched_unless_it_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))

    def refuse(*arguments: object, **options: object) -> None:
        raise AssertionError("it went to the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    for source in ("timm:test_vit.r160_in1k", f"hf:someone/dino@{COMMIT}"):
        with pytest.raises(TrainingError, match="download=True"):
            taken(source)
    assert os.environ.get("HF_HUB_OFFLINE") is None


@pytest.mark.parametrize("family", ["clip", "siglip2"])
def test_an_onnx_pair_gives_embeddings_of_pictures_and_phrases(family: str, tmp_path: Path) -> None:
    network = taken(f"folder:{onnx_pair(tmp_path, family)}")
    pixels = pictures(SIDE)
    colors = pixels.mean(axis=(1, 2)) / 255
    expected = (colors - [0.5, 0.4, 0.3]) / [0.5, 0.25, 0.2] @ projection()
    assert np.allclose(run(network, pixels)["features"], expected, atol=1e-4)
    assert (network.size, network.width) == (SIDE, SPACE)
    text = network.text
    assert text is not None
    assert (text.length, text.pad, text.lower) == (LENGTH, 0, family == "siglip2")
    import onnxruntime

    session = onnxruntime.InferenceSession(text.graph, providers=["CPUExecutionProvider"])
    ids = np.zeros((1, LENGTH), np.int64)
    ids[0, :2] = [4, 1]  # green, the end
    takes = {"ids": ids, **({"mask": (ids > 0).astype(np.int64)} if family == "clip" else {})}
    assert {node.name for node in session.get_inputs()} == set(takes)
    (found,) = session.run(["features"], takes)
    assert np.allclose(found, COLORS[1] @ projection() / LENGTH, atol=1e-6)
    assert network.source["license"] == "apache-2.0"
    assert {"onnx/vision_model.onnx", "onnx/text_model.onnx", "tokenizer.json"} <= set(network.source["files"])


def test_tokens_alone_give_the_class_token_or_else_the_mean(tmp_path: Path) -> None:
    network = taken(f"onnx:{vision_onnx(tmp_path / 'm.onnx', whole=None)}", size=SIDE)
    found = run(network, pictures(SIDE))
    assert "mean over the patches" in network.source["feature"]  # 4 tokens are 2 x 2 patches
    assert np.allclose(found["features"], found["map"].mean(axis=(2, 3)), atol=1e-6)
    five = _with_class_token(tmp_path / "class.onnx")
    network = taken(f"onnx:{five}", size=SIDE)
    found = run(network, pictures(SIDE))
    assert "CLS" in network.source["feature"]
    assert np.allclose(found["features"], 7)
    assert found["map"].shape == (3, 3, SIDE // PATCH, SIDE // PATCH)
    assert not np.allclose(found["map"], 7)


def _with_class_token(path: Path) -> Path:
    from onnx import TensorProto, helper

    nodes = [
        helper.make_node("Conv", ["pixel_values", "kernel"], ["patches"], strides=[PATCH, PATCH]),
        helper.make_node("Reshape", ["patches", "flat"], ["columns"]),
        helper.make_node("ReduceMean", ["columns"], ["any"], axes=[2], keepdims=1),
        helper.make_node("Mul", ["any", "zero"], ["nothing"]),
        helper.make_node("Add", ["nothing", "seven"], ["class"]),
        helper.make_node("Concat", ["class", "columns"], ["all"], axis=2),
        helper.make_node("Transpose", ["all"], ["last_hidden_state"], perm=[0, 2, 1]),
    ]
    held = {
        "kernel": numbers(3, 3, PATCH, PATCH),
        "flat": np.array([0, 0, -1]),
        "zero": np.float32(0),
        "seven": np.float32(7),
    }
    takes = {"pixel_values": (TensorProto.FLOAT, ["batch", 3, "height", "width"])}
    return save_onnx(path, nodes, held, takes, {"last_hidden_state": (TensorProto.FLOAT, ["batch", "tokens", 3])})


def test_an_open_clip_pair_gives_its_embeddings_and_its_own_tokens(tmp_path: Path) -> None:
    open_clip = pytest.importorskip("open_clip", reason="open_clip_torch is not installed")
    tokenizers = pytest.importorskip("tokenizers", reason="needs the text extra")
    import onnxruntime
    import torch

    model = open_clip_folder(tmp_path)
    network = taken(f"folder:{tmp_path}")
    with torch.no_grad():
        expected = model.encode_image(planes(pictures(SIDE), [0.48, 0.46, 0.41], [0.27, 0.26, 0.28]))
    assert same(run(network, pictures(SIDE))["features"], expected.numpy())
    phrases = ["a photo of a cat", "A Dog's life; don't 1234!", "a dog in the snow " * 9, "汉字 ü"]
    wanted = open_clip.SimpleTokenizer(context_length=20)(phrases)
    assert network.text is not None
    cut = tokenizers.Tokenizer.from_buffer(network.text.tokenizer)
    cut.enable_truncation(network.text.length)
    rows = [cut.encode(phrase).ids for phrase in phrases]
    assert [row + [network.text.pad] * (20 - len(row)) for row in rows] == wanted.tolist()
    with torch.no_grad():
        expected = model.encode_text(wanted)
    session = onnxruntime.InferenceSession(network.text.graph, providers=["CPUExecutionProvider"])
    assert same(session.run(["features"], {"ids": wanted.numpy()})[0], expected.numpy())
    assert network.source["license"] == "mit"
    check_graph(network.text.graph, "it")


def test_the_tokenizer_of_clip_is_written_without_its_package() -> None:
    tokenizers = pytest.importorskip("tokenizers", reason="needs the text extra")
    from hashgrain.learn.encoders.clip_tokenizer import byte_letters, described

    letters = byte_letters()
    assert len(set(letters)) == 256
    assert (letters[0], letters[-1]) == ("!", chr(256 + 67))
    told = described([("c", "a"), ("ca", "t</w>")])
    found = tokenizers.Tokenizer.from_str(json.dumps(told)).encode("Cat  a'S")
    assert found.tokens == ["<start_of_text>", "cat</w>", "a</w>", "'", "s</w>", "<end_of_text>"] or found.tokens == [
        "<start_of_text>",
        "cat</w>",
        "a</w>",
        "'s</w>",
        "<end_of_text>",
    ]


def refuses(reason: str, source: str | Path, **asked: Any) -> None:
    with pytest.raises(TrainingError, match=reason) as caught:
        taken(source, **asked)
    assert "\n" not in str(caught.value)


def test_what_is_no_source_is_refused_with_what_is() -> None:
    for source in ("", "dino", "torch:hub", "timm:", "hf:", "onnx:", "folder:"):
        refuses("it takes timm:ARCH.TAG", source)
    refuses(r"no model 'resnet51'; near it: .*resnet50", "timm:resnet51")
    refuses(r"no model 'resnet50.nothing_in1k'; near it: resnet50", "timm:resnet50.nothing_in1k")
    refuses("names no commit, and a branch may be another network tomorrow.*commits/main", "hf:facebook/dinov2-small")
    refuses("names no commit", "hf:facebook/dinov2-small@main")
    refuses("it takes hf:OWNER/REPO@SHA", f"hf:dino@{COMMIT}")
    refuses("it takes hf:OWNER/REPO@SHA", f"hf:../../etc/passwd@{COMMIT}")
    refuses("no folder /nowhere", "folder:/nowhere")
    refuses("no file /nowhere.onnx", "onnx:/nowhere.onnx")
    # Not timm's own list: these would bring an architecture from elsewhere.
    refuses("timm has no model", "timm:hf-hub:someone/else")
    refuses("timm has no model", "timm:local-dir:/tmp")


def test_pickles_and_code_are_refused_by_their_names(tmp_path: Path) -> None:
    write_json(tmp_path / "config.json", {"architecture": "test_vit"})
    (tmp_path / "pytorch_model.bin").write_bytes(b"PK\x03\x04")
    refuses(r"only as a pickle \(pytorch_model.bin\).*save_file", f"folder:{tmp_path}")
    (tmp_path / "pytorch_model.bin").rename(tmp_path / "model.safetensors")
    refuses("is a pickle", f"folder:{tmp_path}")
    write_json(tmp_path / "config.json", {"auto_map": {"AutoModel": "modeling.py"}})
    refuses(r"needs code of its own \(auto_map in config.json\)", f"folder:{tmp_path}")
    (tmp_path / "model.safetensors").unlink()
    refuses("has no known layout", f"folder:{tmp_path}")
    write_json(tmp_path / "config.json", {"model_type": "dinov2"})
    (tmp_path / "model.safetensors").write_bytes(b"")
    refuses("has no timm `architecture`.*ONNX version", f"folder:{tmp_path}")
    (tmp_path / "config.json").write_text("[1]")
    refuses("holds no JSON object", f"folder:{tmp_path}")


def test_a_configuration_cannot_have_timm_read_weights_from_elsewhere(tmp_path: Path) -> None:
    from hashgrain.learn.encoders.timm_source import _arguments

    hostile = {"pretrained": True, "checkpoint_path": "/x", "pretrained_cfg": "y", "cache_dir": "z", "depth": 2}
    assert _arguments({"model_args": hostile}) == {"depth": 2}
    write_json(tmp_path / "config.json", {"architecture": "hf-hub:someone/else"})
    (tmp_path / "model.safetensors").write_bytes(b"")
    refuses("timm has no model", f"folder:{tmp_path}")


@pytest.mark.parametrize("name", ["hf-hub:someone/else", "local-dir:/etc", "nothing", ["resnet18"]])
def test_a_configuration_cannot_have_open_clip_read_from_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: Any
) -> None:
    pytest.importorskip("open_clip", reason="open_clip_torch is not installed")
    import timm

    def refuse(*arguments: object, **options: object) -> None:
        raise AssertionError("it was asked of timm")

    monkeypatch.setattr(timm, "create_model", refuse)
    open_clip_folder(tmp_path)
    told = json.loads((tmp_path / "open_clip_config.json").read_text())
    told["model_cfg"]["vision_cfg"]["timm_model_name"] = name
    write_json(tmp_path / "open_clip_config.json", told)
    refuses("which is not in its list", f"folder:{tmp_path}")


def test_what_is_on_this_machine_is_read_without_the_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    from hashgrain.learn.encoders import onnx_source

    offline = []
    whole = onnx_source.vision

    def looked_at(*arguments: Any) -> Network:
        offline.append(constants.HF_HUB_OFFLINE)
        return whole(*arguments)

    monkeypatch.setattr(onnx_source, "vision", looked_at)
    file = vision_onnx(tmp_path / "m.onnx")
    taken(f"onnx:{file}", size=SIDE, download=True)
    assert offline == [True]


def test_graphs_that_are_no_encoder_of_pictures_are_refused(tmp_path: Path) -> None:
    from onnx import TensorProto, helper

    def graph(takes: dict[str, Any], output: list[Any], operator: str = "Identity", **more: Any) -> Path:
        node = helper.make_node(operator, [next(iter(takes))], ["out"], **more)
        return save_onnx(tmp_path / "bad.onnx", [node], {}, takes, {"out": (TensorProto.FLOAT, output)})

    floats = TensorProto.FLOAT
    four = graph({"x": (floats, ["n", SIDE, SIDE, 4])}, ["n", SIDE, SIDE, 4])
    refuses(r"a backbone takes floats \(n, 3, s, s\) or \(n, s, s, 3\), or bytes", f"onnx:{four}")
    one = graph({"x": (floats, [1, 3, SIDE, SIDE])}, [1, 3, SIDE, SIDE])
    refuses("takes one picture at a time", f"onnx:{one}")
    two = graph({"x": (floats, ["n", 3, SIDE, SIDE]), "mask": (floats, ["n", 4])}, ["n", 3, SIDE, SIDE])
    refuses("a backbone takes pictures, four axes, and nothing else", f"onnx:{two}")
    flat = graph({"x": (floats, ["n", 3, SIDE, SIDE])}, [], "ReduceMean", keepdims=0)
    refuses("name the output that holds the features of a picture 'features'", f"onnx:{flat}")
    fixed = graph({"x": (floats, ["n", 3, SIDE, SIDE])}, ["n", 3, SIDE, SIDE])
    refuses(f"takes pictures of {SIDE}x{SIDE} px, not of 64", f"onnx:{fixed}", size=64)
    (tmp_path / "bad.onnx").write_bytes(b"nonsense")
    refuses("is not an ONNX model", f"onnx:{tmp_path / 'bad.onnx'}")


def test_a_text_half_that_does_not_go_with_its_pictures_is_refused(tmp_path: Path) -> None:
    onnx_pair(tmp_path)
    text_onnx(tmp_path / "onnx" / "text_model.onnx", output="logits")
    refuses("gives logits; a text network gives text_embeds or pooler_output", f"folder:{tmp_path}")
    (tmp_path / "tokenizer.json").unlink()
    refuses("has no tokenizer.json beside it", f"folder:{tmp_path}")


def test_a_description_beside_a_graph_says_how_pictures_are_prepared(tmp_path: Path) -> None:
    file = onnx_pair(tmp_path) / "onnx" / "vision_model.onnx"
    network = taken(f"onnx:{file}")
    assert network.source["preprocessing"]["std"] == [0.5, 0.25, 0.2]
    assert set(network.source["files"]) == {"vision_model.onnx", "preprocessor_config.json"}
    write_json(tmp_path / "preprocessor_config.json", {"do_rescale": False, "do_normalize": False, "size": SIDE})
    bytes_as_they_are = run(taken(f"onnx:{file}"), pictures(SIDE))["features"]
    assert np.allclose(bytes_as_they_are, pictures(SIDE).mean(axis=(1, 2)) @ projection(), rtol=1e-3, atol=1e-2)
    write_json(tmp_path / "preprocessor_config.json", {"image_std": [0, 1, 1]})
    refuses("image_std of the colors", f"onnx:{file}")
    write_json(tmp_path / "preprocessor_config.json", {"size": {"height": 32, "width": 64}})
    refuses("only square ones are made", f"onnx:{file}")


def edited(path: Path, **changes: Any) -> None:
    """The same JSON file with other values; None takes one away."""
    told = {**json.loads(path.read_text()), **changes}
    write_json(path, told)


@pytest.mark.parametrize(
    ("file", "told"),
    [
        ("preprocessor_config.json", '{"resample": [3]}'),
        ("preprocessor_config.json", '{"size": {"height": [32], "width": 32}}'),
        ("tokenizer.json", "[" * 100_000),
        ("tokenizer.json", "[]"),
        ("tokenizer.json", "{"),
    ],
)
def test_odd_values_in_the_descriptions_of_a_graph_cost_a_line(tmp_path: Path, file: str, told: str) -> None:
    onnx_pair(tmp_path)
    (tmp_path / file).write_text(told)
    refuses(".", f"folder:{tmp_path}")


def test_odd_lengths_of_phrases_are_passed_over(tmp_path: Path) -> None:
    onnx_pair(tmp_path)
    edited(tmp_path / "config.json", text_config="clip")
    edited(tmp_path / "tokenizer.json", truncation="longest")
    text = taken(f"folder:{tmp_path}").text
    assert text is not None
    assert text.length == 77


@pytest.mark.parametrize(
    "changes",
    [
        {"pretrained_cfg": {"crop_pct": "most"}},
        {"pretrained_cfg": {"input_size": 224}},
        {"pretrained_cfg": {"input_size": ["3", "32", "32"]}},
        {"pretrained_cfg": "imagenet"},
        {"model_args": ["depth"]},
        {"model_args": {"act_layer": "nope"}},
        {"model_args": {"norm_layer": "x"}},
        {"model_args": {"num_heads": 0}},
    ],
)
def test_odd_values_in_the_description_of_a_timm_network_cost_a_line(tmp_path: Path, changes: dict[str, Any]) -> None:
    timm_folder(tmp_path, "test_vit", {})
    edited(tmp_path / "config.json", **changes)
    refuses(".", f"folder:{tmp_path}")


@pytest.mark.parametrize("positions", [(3,), (1, 2, 3), ()])
def test_odd_values_in_an_open_clip_repository_cost_a_line(tmp_path: Path, positions: tuple[int, ...]) -> None:
    pytest.importorskip("open_clip", reason="open_clip_torch is not installed")
    import torch
    from safetensors.torch import load_file, save_file

    open_clip_folder(tmp_path)
    weights = load_file(tmp_path / "open_clip_model.safetensors")
    save_file(
        {**weights, "visual.positional_embedding": torch.zeros(positions)}, tmp_path / "open_clip_model.safetensors"
    )
    refuses(".", f"folder:{tmp_path}")
    edited(tmp_path / "open_clip_config.json", model_cfg={"vision_cfg": {"image_size": []}, "text_cfg": {}})
    refuses(".", f"folder:{tmp_path}")


def test_odd_tokenizers_pad_with_what_else_is_said() -> None:
    from hashgrain.learn.encoders.onnx_repository import pad_of

    odd: list[tuple[dict[str, Any], dict[str, Any]]] = [
        ({"added_tokens": ["<pad>", 3]}, {"pad_token": "<pad>"}),
        ({"added_tokens": [{"content": "<pad>"}]}, {"pad_token": "<pad>"}),
        ({"added_tokens": "<pad>", "padding": "right"}, {"pad_token": ["<pad>"]}),
        ({"model": {"vocab": {"<pad>": -5}}}, {"pad_token": "<pad>"}),
        ({"padding": {"pad_id": 10**30}}, {}),
        ({"padding": {"pad_id": True}}, {}),
    ]
    for tokenizer, about in odd:
        assert pad_of(tokenizer, about) == 0
    assert pad_of({"padding": {"pad_id": -5}, "model": {"vocab": {"<pad>": 7}}}, {"pad_token": "<pad>"}) == 7


def test_colors_are_three_numbers() -> None:
    from hashgrain.learn.encoders.preprocessing import colors

    for odd in (float("nan"), float("inf"), True, "0.5", None):
        with pytest.raises(TrainingError, match="it takes three numbers"):
            colors([0.5, odd, 0.5], "mean")
    assert colors([0, 0.5, 1], "mean") == (0, 0.5, 1)


def test_sizes_and_places_out_of_bounds_are_refused_in_a_line(tmp_path: Path) -> None:
    timm_folder(tmp_path / "it", "test_convnext", {})
    refuses("pictures of 8 px: .*; try another size", f"folder:{tmp_path / 'it'}", size=8)
    for size in (0, 2049, 10**9):
        refuses("size .*: it takes 1 to 2048", f"folder:{tmp_path / 'it'}", size=size)
    for source in ("folder:~nouser-here/x", "onnx:~nouser-here/x.onnx"):
        refuses("no such user, or one without a home", source)
    edited(tmp_path / "it" / "config.json", pretrained_cfg={"input_size": [3, 100_000, 100_000]})
    refuses("pictures of 100000 px; 1 to 2048 can be made", f"folder:{tmp_path / 'it'}")
    onnx_pair(tmp_path / "pair")
    edited(tmp_path / "pair" / "preprocessor_config.json", do_center_crop=False, size={"height": 10**9})
    refuses("pictures of 1000000000 px; 1 to 2048 can be made", f"folder:{tmp_path / 'pair'}")


@pytest.mark.parametrize("length", [0, 4097, 10**9, "77"])
def test_phrases_of_open_clip_have_a_length_that_can_be_made(tmp_path: Path, length: Any) -> None:
    pytest.importorskip("open_clip", reason="open_clip_torch is not installed")
    open_clip_folder(tmp_path)
    told = json.loads((tmp_path / "open_clip_config.json").read_text())["model_cfg"]
    edited(
        tmp_path / "open_clip_config.json",
        model_cfg={**told, "text_cfg": {**told["text_cfg"], "context_length": length}},
    )
    refuses("tokens; 1 to 4096 can be made", f"folder:{tmp_path}")


def test_a_graph_without_inputs_is_refused(tmp_path: Path) -> None:
    from onnx import TensorProto, helper

    node = helper.make_node("Identity", ["one"], ["out"])
    file = save_onnx(
        tmp_path / "m.onnx", [node], {"one": np.ones(3, np.float32)}, {}, {"out": (TensorProto.FLOAT, [3])}
    )
    refuses("takes nothing; a backbone takes pictures", f"onnx:{file}")


def test_a_map_is_averaged_where_the_graph_declares_no_shape(tmp_path: Path) -> None:
    import onnx
    from onnx import TensorProto, helper

    takes = {"x": (TensorProto.FLOAT, ["n", 3, SIDE, SIDE])}
    nodes = [helper.make_node("AveragePool", ["x"], ["features"], kernel_shape=[16, 16], strides=[16, 16])]
    file = save_onnx(tmp_path / "m.onnx", nodes, {}, takes, {"features": (TensorProto.FLOAT, ["n", 3, 2, 2])})
    model = onnx.load(file)
    model.graph.output[0].type.tensor_type.ClearField("shape")
    onnx.save(model, file)
    network = taken(f"onnx:{file}", size=SIDE)
    found = run(network, pictures(SIDE))
    assert found["features"].shape == (3, 3)
    from hashgrain.codes import Grains
    from hashgrain.learn.backbones.zoo import build

    backbone = build(f"onnx:{file}", size=SIDE, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
    bundle = backbone.as_bundle("it", Grains({"look": 8}), SIDE)  # type: ignore[operator]
    assert same(run(Network(bundle.onnx, SIDE, 3, {}), pictures(SIDE))["features"], found["features"])


@pytest.mark.skipif(sys.platform != "linux", reason="memory is capped on Linux")
def test_a_graph_of_a_few_bytes_that_takes_gigabytes_is_refused_and_costs_this_process_nothing(tmp_path: Path) -> None:
    from onnx import TensorProto, helper

    takes = {"x": (TensorProto.FLOAT, ["n", 3, SIDE, SIDE])}
    nodes = [
        helper.make_node("ConstantOfShape", ["many"], ["zeros"]),
        helper.make_node("ReduceMax", ["zeros"], ["one"], keepdims=0),
        helper.make_node("Add", ["x", "one"], ["features"]),
    ]
    gives = {"features": (TensorProto.FLOAT, ["n", 3, SIDE, SIDE])}
    file = save_onnx(tmp_path / "m.onnx", nodes, {"many": np.array([4_000_000_000])}, takes, gives)
    assert file.stat().st_size < 500
    refuses("cannot run on pictures of 32 px", f"onnx:{file}")
    onnx_pair(tmp_path / "pair")
    ids = {"input_ids": (TensorProto.INT64, ["n", "length"])}
    nodes[2] = helper.make_node("Cast", ["input_ids"], ["floats"], to=TensorProto.FLOAT)
    nodes.append(helper.make_node("Add", ["floats", "one"], ["text_embeds"]))
    text = {"text_embeds": (TensorProto.FLOAT, ["n", LENGTH])}
    save_onnx(tmp_path / "pair" / "onnx" / "text_model.onnx", nodes, {"many": np.array([4_000_000_000])}, ids, text)
    refuses("text_model.onnx", f"folder:{tmp_path / 'pair'}")


def test_graphs_of_strangers_run_in_no_session_of_this_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import onnxruntime

    def refuse(*arguments: object, **options: object) -> None:
        raise AssertionError("a session was made here")

    monkeypatch.setattr(onnxruntime, "InferenceSession", refuse)
    assert taken(f"folder:{onnx_pair(tmp_path)}").text is not None


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"embed_dim": 65_536}, "far larger than its weights"),
        ({"depth": 100_000}, "more than any has"),
        ({"depth": 10**9}, "with 1000000000 in it"),
        ({"mlp_ratio": 1e7}, "far larger than its weights"),
    ],
)
def test_a_description_of_a_huge_network_is_refused_before_a_number_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: dict[str, Any], reason: str
) -> None:
    from hashgrain.learn.encoders import bounded, timm_source

    def refuse(*arguments: object, **options: object) -> None:
        raise AssertionError("it was built")

    monkeypatch.setattr(bounded, "MAX_PARTS", 1000)  # fewer take less time

    timm_folder(tmp_path, "test_vit", {})
    edited(tmp_path / "config.json", model_args=arguments)
    monkeypatch.setattr(timm_source, "timm_network", refuse)
    refuses(reason, f"folder:{tmp_path}")


@pytest.mark.parametrize(
    ("part", "told"),
    [("vision_cfg", {"width": 1 << 16}), ("text_cfg", {"vocab_size": 10**9}), ("text_cfg", {"layers": 1 << 16})],
)
def test_a_description_of_a_huge_pair_is_refused_before_a_number_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: str, told: dict[str, int]
) -> None:
    pytest.importorskip("open_clip", reason="open_clip_torch is not installed")
    from hashgrain.learn.encoders import bounded

    monkeypatch.setattr(bounded, "MAX_PARTS", 1000)
    open_clip_folder(tmp_path)
    model = json.loads((tmp_path / "open_clip_config.json").read_text())["model_cfg"]
    edited(tmp_path / "open_clip_config.json", model_cfg={**model, part: {**model[part], **told}})
    refuses("more than any has|far larger than its weights", f"folder:{tmp_path}")
