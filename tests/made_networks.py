"""Networks of our own making in the formats, and under the names, in which people find them; a few kilobytes each."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

SIDE, PATCH, WIDTH, SPACE = 32, 16, 12, 8
WORDS = ("<pad>", "</s>", "<unk>", "red", "green", "blue", "a", "photo", "of")
LENGTH = 16
CARD = "---\nlicense: apache-2.0\ntags:\n- image-feature-extraction\n---\n# A network\n"
Numbers = NDArray[np.float32]
COLORS: Numbers = np.eye(3, dtype=np.float32)  # of the words from "red" on


def numbers(*shape: int, seed: int = 0) -> Numbers:
    return np.random.default_rng([seed, *shape]).normal(size=shape).astype(np.float32)


def projection() -> Numbers:
    """From colors to the space that pictures and phrases share."""
    return np.linalg.qr(numbers(SPACE, 3))[0].T


def save_onnx(path: Path, nodes: list[Any], held: dict[str, Any], takes: dict[str, Any], gives: dict[str, Any]) -> Path:
    """`takes` and `gives` are types and shapes by name."""
    from onnx import helper, numpy_helper, save

    values = [[helper.make_tensor_value_info(name, *each) for name, each in side.items()] for side in (takes, gives)]
    stored = [numpy_helper.from_array(np.asarray(array), name) for name, array in held.items()]
    graph = helper.make_graph(nodes, "made", *values, stored)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    save(model, path)
    return path


def vision_onnx(
    path: Path, *, tokens: str = "last_hidden_state", whole: str | None = "image_embeds", width: int = SPACE
) -> Path:
    """Patches, their mean, and a projection: as CLIP (`image_embeds`) and SigLIP (`pooler_output`) name them."""
    from onnx import TensorProto, helper

    # The mean color of a patch in the first three channels, noise in the others.
    kernel = numbers(WIDTH, 3, PATCH, PATCH) / 100
    kernel[:3] = np.eye(3, dtype=np.float32)[:, :, None, None] / PATCH**2
    to_space = np.concatenate([projection(), np.zeros((WIDTH - 3, SPACE), np.float32)])
    nodes = [
        helper.make_node("Conv", ["pixel_values", "kernel"], ["patches"], strides=[PATCH, PATCH]),
        helper.make_node("Reshape", ["patches", "flat"], ["columns"]),
        helper.make_node("Transpose", ["columns"], [tokens], perm=[0, 2, 1]),
        helper.make_node("ReduceMean", [tokens], ["mean"], axes=[1], keepdims=0),
    ]
    if whole:
        nodes.append(helper.make_node("MatMul", ["mean", "to_space"], [whole]))
    gives: dict[str, Any] = {tokens: (TensorProto.FLOAT, ["batch", "tokens", WIDTH])}
    if whole:
        gives[whole] = (TensorProto.FLOAT, ["batch", width])
    held = {"kernel": kernel, "flat": np.array([0, 0, -1]), "to_space": to_space}
    takes = {"pixel_values": (TensorProto.FLOAT, ["batch", 3, "height", "width"])}
    return save_onnx(path, nodes, held, takes, gives)


def text_onnx(path: Path, *, output: str = "text_embeds", mask: bool = True) -> Path:
    """The mean of the tokens' rows: a color's word lies where pictures of that color do."""
    from onnx import TensorProto, helper

    rows = np.zeros((len(WORDS), 3), np.float32)
    rows[3:6] = COLORS
    rows[6:] = numbers(3, 3) / 20
    nodes = [helper.make_node("Gather", ["rows", "input_ids"], ["each"])]
    takes = {"input_ids": (TensorProto.INT64, ["batch", "sequence"])}
    if mask:
        takes["attention_mask"] = (TensorProto.INT64, ["batch", "sequence"])
        nodes += [
            helper.make_node("Cast", ["attention_mask"], ["counts"], to=TensorProto.FLOAT),
            helper.make_node("Unsqueeze", ["counts", "last"], ["column"]),
            helper.make_node("Mul", ["each", "column"], ["kept"]),
        ]
    nodes += [
        helper.make_node("ReduceMean", ["kept" if mask else "each"], ["mean"], axes=[1], keepdims=0),
        helper.make_node("MatMul", ["mean", "to_space"], [output]),
    ]
    held = {"rows": rows, "last": np.array([-1]), "to_space": projection()}
    return save_onnx(path, nodes, held, takes, {output: (TensorProto.FLOAT, ["batch", SPACE])})


def tokenizer() -> dict[str, Any]:
    added = [
        {"id": place, "content": WORDS[place], "special": True, "normalized": False}
        | dict.fromkeys(("single_word", "lstrip", "rstrip"), False)
        for place in range(2)
    ]
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        "normalizer": None,
        "pre_tokenizer": {"type": "Whitespace"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [{"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": "</s>", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 0}}],
            "special_tokens": {"</s>": {"id": "</s>", "ids": [1], "tokens": ["</s>"]}},
        },
        "decoder": None,
        "model": {"type": "WordLevel", "vocab": {word: i for i, word in enumerate(WORDS)}, "unk_token": "<unk>"},
    }


def onnx_pair(folder: Path, family: str = "clip") -> Path:
    """As `onnx-community` lays out CLIP ("clip") and SigLIP2 ("siglip2")."""
    clip = family == "clip"
    vision_onnx(folder / "onnx" / "vision_model.onnx", whole="image_embeds" if clip else "pooler_output")
    text_onnx(folder / "onnx" / "text_model.onnx", output="text_embeds" if clip else "pooler_output", mask=clip)
    write_json(folder / "tokenizer.json", tokenizer())
    write_json(folder / "tokenizer_config.json", {"pad_token": "<pad>", "model_max_length": 10**30})
    write_json(folder / "config.json", {"model_type": family, "text_config": {"max_position_embeddings": LENGTH}})
    edges = {"height": SIDE, "width": SIDE}
    about = {"size": {"shortest_edge": SIDE}, "crop_size": edges, "do_center_crop": True} if clip else {"size": edges}
    colors = {"image_mean": [0.5, 0.4, 0.3], "image_std": [0.5, 0.25, 0.2], "resample": 3, "rescale_factor": 1 / 255}
    write_json(folder / "preprocessor_config.json", about | colors)
    (folder / "README.md").write_text(CARD)
    return folder


def write_json(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


def timm_folder(folder: Path, architecture: str, arguments: dict[str, Any]) -> Any:
    """A network of timm with random weights, as timm pushes it to Hugging Face; returns the network."""
    import timm
    import torch
    from timm.models._hub import save_for_hf

    torch.manual_seed(0)
    network = timm.create_model(architecture, pretrained=False, num_classes=5, **arguments).eval()
    with torch.no_grad():
        for weights in network.parameters():
            if weights.ndim > 1:
                weights.add_(torch.randn_like(weights) * 0.05)  # as drawn, some layers add next to nothing
    save_for_hf(network, folder, model_args=arguments, safe_serialization=True)
    (folder / "README.md").write_text(CARD)
    return network


def open_clip_folder(folder: Path) -> Any:
    """A pair of open_clip with random weights, as it is pushed to Hugging Face; returns the network."""
    import copy

    import torch
    from open_clip.model import CLIP
    from safetensors.torch import save_file

    told = {
        "embed_dim": 24,
        "vision_cfg": {"image_size": SIDE, "layers": 1, "width": 32, "head_width": 16, "patch_size": PATCH},
        "text_cfg": {"context_length": 20, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
    }
    torch.manual_seed(0)
    network = CLIP(**copy.deepcopy(told)).eval()
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: weights.contiguous() for name, weights in network.state_dict().items()}
    save_file(tensors, folder / "open_clip_model.safetensors")
    shown = {"mean": [0.48, 0.46, 0.41], "std": [0.27, 0.26, 0.28], "interpolation": "bicubic"}
    write_json(folder / "open_clip_config.json", {"model_cfg": told, "preprocess_cfg": shown})
    (folder / "README.md").write_text(CARD.replace("apache-2.0", "mit"))
    return network


def in_cache(cache: Path, name: str, commit: str, folder: Path) -> None:
    """A repository as huggingface_hub keeps it: blobs by their hash, and links to them below the commit."""
    import hashlib

    home = cache / ("models--" + name.replace("/", "--"))
    (home / "blobs").mkdir(parents=True)
    (home / "refs").mkdir()
    (home / "refs" / "main").write_text(commit)
    for path in sorted(each for each in folder.rglob("*") if each.is_file()):
        blob = home / "blobs" / hashlib.sha256(path.read_bytes()).hexdigest()
        blob.write_bytes(path.read_bytes())
        link = home / "snapshots" / commit / path.relative_to(folder)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(blob)
