"""An open_clip repository as a pair of networks, from its open_clip_config.json and a safetensors file alone.

The open_clip package builds the networks; their weights are read here, and the package downloads nothing.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from hashgrain.errors import TrainingError
from hashgrain.graphs.heads import FEATURES, text_graph
from hashgrain.learn.backbones.weights import put_weights, read_weights
from hashgrain.learn.encoders import preprocessing
from hashgrain.learn.encoders.bounded import check_built, check_plain
from hashgrain.learn.encoders.files import SourceFiles, only_pickles
from hashgrain.learn.encoders.layouts import OPEN_CLIP_CONFIG, OPEN_CLIP_WEIGHTS
from hashgrain.learn.encoders.network import Network, TextNetwork
from hashgrain.learn.encoders.onnx_repository import TOKENIZER, TOKENIZER_CONFIG, pad_of
from hashgrain.learn.encoders.onnx_source import vision
from hashgrain.learn.export import graph_of
from hashgrain.models.description import MAX_TOKENS
from hashgrain.models.session import first_line

FEATURE = "image embedding, in one space with text"


@dataclass(frozen=True)
class Described:
    """The content of an open_clip_config.json."""

    model: dict[str, Any]
    pictures: dict[str, Any]


class _Pictures(nn.Module):
    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, planes: Tensor) -> Tensor:
        features: Tensor = self.model.encode_image(planes)
        return features


class _Phrases(nn.Module):
    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, ids: Tensor) -> Tensor:
        features: Tensor = self.model.encode_text(ids)
        return features


def need_open_clip() -> None:
    try:
        import open_clip  # noqa: F401
    except ImportError:
        raise TrainingError(
            "networks of open_clip take its package: pip install open_clip_torch (or 'hashgrain[openclip]')"
        ) from None


def from_open_clip(files: SourceFiles, where: str, size: int | None, known: Described | None = None) -> Network:
    """`known` is the package's configuration, for repositories without one."""
    need_open_clip()
    config = _described(files, where) if files.has(OPEN_CLIP_CONFIG) else known
    weights = next((name for name in OPEN_CLIP_WEIGHTS if files.has(name)), None)
    if config is None or weights is None:
        raise only_pickles(files.names(), where)
    vision_part, text_part = config.model["vision_cfg"], config.model["text_cfg"]
    way = preprocessing.from_open_clip(config.pictures, vision_part.get("image_size", 224))
    edge = size or way.size
    length = text_part.get("context_length", 77)
    if not isinstance(length, int) or not 1 <= length <= MAX_TOKENS:
        raise TrainingError(f"{where} takes phrases of {length!r} tokens; 1 to {MAX_TOKENS} can be made")
    model = _built(config.model, edge, files, weights, where)
    try:
        graph = graph_of(_Pictures(model), torch.zeros(2, 3, edge, edge), "planes", [FEATURES])
    except Exception as error:  # the exporter raises a dozen unrelated classes
        raise TrainingError(f"{where} cannot be exported to ONNX: {first_line(error)}") from None
    network = vision(graph, where, replace(way, size=edge), edge)
    text = _text(model, text_part, length, files, where, network.width)
    lock = {"feature": FEATURE, "license": files.license(), "files": files.taken()}
    return replace(network, source={**network.source, **lock}, text=text)


def _described(files: SourceFiles, where: str) -> Described:
    config = files.json(OPEN_CLIP_CONFIG)
    model, pictures = config.get("model_cfg"), config.get("preprocess_cfg") or {}
    parts = [model.get(part) for part in ("vision_cfg", "text_cfg")] if isinstance(model, Mapping) else [None]
    if not all(isinstance(part, Mapping) for part in (*parts, pictures)):
        raise TrainingError(f"{where} has no model_cfg with vision_cfg and text_cfg in its {OPEN_CLIP_CONFIG}")
    return Described(copy.deepcopy(dict(config["model_cfg"])), dict(pictures))


def _built(config: Mapping[str, Any], size: int, files: SourceFiles, weights: str, where: str) -> Any:
    """The pair with its weights. Configurations that load weights or code from elsewhere are refused."""
    from open_clip import model as models

    asked = copy.deepcopy(dict(config))
    if "multimodal_cfg" in asked or asked["text_cfg"].get("hf_model_name"):
        raise TrainingError(
            f"{where} has a text half of another library, which is not supported; use an ONNX version of it"
        )
    asked["vision_cfg"] |= {"image_size": size, "patch_dropout": 0.0}
    if tower := asked["vision_cfg"].get("timm_model_name"):
        _refuse_elsewhere(tower, where)
        asked["vision_cfg"]["timm_model_pretrained"] = False
    kind = models.CustomTextCLIP if asked.pop("custom_text", False) else models.CLIP
    file = files.path(weights)
    check_plain(asked, where)
    check_built(lambda: kind(**copy.deepcopy(asked)), file, where)
    try:
        made = kind(**asked).eval()
    except Exception as error:  # of a configuration that does not fit this version of the package
        raise TrainingError(f"{where} cannot be built by open_clip: {first_line(error)}") from None
    tensors = read_weights(file)
    if kind is models.CustomTextCLIP and "positional_embedding" in tensors:
        tensors = models.convert_to_custom_text_state_dict(tensors)
    models.resize_pos_embed(tensors, made)
    put_weights(made, tensors, where)
    return made


def _refuse_elsewhere(tower: Any, where: str) -> None:
    """Allow only names of timm's own list: "hf-hub:" and "local-dir:" would load from elsewhere."""
    import timm

    if not isinstance(tower, str) or ":" in tower or not timm.is_model(tower):
        raise TrainingError(f"{where} asks for timm's {tower!r}, which is not in its list; use another network")


def _text(
    model: Any, config: Mapping[str, Any], length: int, files: SourceFiles, where: str, width: int
) -> TextNetwork:
    if files.has(TOKENIZER):
        tokenizer = files.read(TOKENIZER)
        pad = pad_of(files.json(TOKENIZER), files.json(TOKENIZER_CONFIG) if files.has(TOKENIZER_CONFIG) else {})
        cleaned = (config.get("tokenizer_kwargs") or {}).get("clean")
        lower = cleaned in ("lower", "canonicalize")
    elif config.get("hf_tokenizer_name"):
        raise TrainingError(
            f"{where} has no {TOKENIZER}, and its phrases are cut by that of {config['hf_tokenizer_name']}: put that"
            " file into the folder"
        )
    else:
        from hashgrain.learn.encoders.clip_tokenizer import clip_tokenizer

        tokenizer, pad, lower = clip_tokenizer(), 0, False  # this tokenizer lowercases phrases itself
    try:
        graph = graph_of(_Phrases(model), torch.zeros(2, length, dtype=torch.int64), "input_ids", [FEATURES])
    except Exception as error:  # as above
        raise TrainingError(f"the text half of {where} cannot be exported to ONNX: {first_line(error)}") from None
    return TextNetwork(text_graph(graph, "input_ids", None, FEATURES, length, width), tokenizer, length, pad, lower)
