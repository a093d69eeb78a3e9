"""An ONNX repository as a network, in the layout of `onnx-community`: graphs in onnx/, descriptions beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypeGuard

from hashgrain.errors import BundleError, TrainingError
from hashgrain.graphs.heads import FEATURES, text_graph
from hashgrain.learn.data.kept_features import AT_ONCE
from hashgrain.learn.encoders import preprocessing
from hashgrain.learn.encoders.files import SourceFiles
from hashgrain.learn.encoders.layouts import TEXT, VISION
from hashgrain.learn.encoders.network import Network, TextNetwork
from hashgrain.learn.encoders.onnx_source import DESCRIBED, declared_by, vision
from hashgrain.models.bundle_files import MAX_ONNX_BYTES
from hashgrain.models.description import MAX_ID, MAX_TOKENS
from hashgrain.models.trial import BASE_MEMORY, MAX_MEMORY, PER_GRAPH_BYTE, PER_TOKEN_PAIR, try_graph

TOKENIZER, TOKENIZER_CONFIG, CONFIG = "tokenizer.json", "tokenizer_config.json", "config.json"
# Outputs of text networks that lie in one space with those of pictures, best first.
TEXT_OUTPUTS = ("text_embeds", "pooler_output")
LENGTHS = {"siglip": 64, "siglip2": 64}  # where no file states it
CLIP_LENGTH = 77


def from_repository(files: SourceFiles, where: str, size: int | None) -> Network:
    graph = next(name for name in VISION if files.has(name))
    stated = preprocessing.from_transformers(files.json(DESCRIBED)) if files.has(DESCRIBED) else None
    network = vision(files.read(graph, MAX_ONNX_BYTES), f"{where}, {graph}", stated, size)
    text = _text(files, f"{where}, {TEXT}", network.width) if files.has(TEXT) else None
    lock = {"license": files.license(), "files": files.taken()}
    return replace(network, source={**network.source, **lock}, text=text)


def _text(files: SourceFiles, where: str, width: int) -> TextNetwork:
    """The text half of a pair; an error where it does not fit the vision half."""
    if not files.has(TOKENIZER):
        raise TrainingError(f"{where} has no {TOKENIZER} beside it; get the repository again, with all its files")
    content, tokenizer = files.read(TEXT, MAX_ONNX_BYTES), files.json(TOKENIZER)
    session = declared_by(content, where)
    inputs = {node.name: node.type for node in session.get_inputs()}
    mask = "attention_mask" if "attention_mask" in inputs else None
    if set(inputs) - {"attention_mask"} != {"input_ids"} or set(inputs.values()) != {"tensor(int64)"}:
        raise TrainingError(
            f"{where} takes {', '.join(inputs)}; a text network takes int64 input_ids, and maybe a mask"
        )
    outputs = {node.name: node.shape for node in session.get_outputs()}
    output = next((name for name in TEXT_OUTPUTS if name in outputs), None)
    if output is None:
        raise TrainingError(f"{where} gives {', '.join(outputs)}; a text network gives {' or '.join(TEXT_OUTPUTS)}")
    length, pad, lower = tokenizing(files, tokenizer)
    graph = text_graph(content, "input_ids", mask, output, length, width)
    check_text(graph, where, length, width, masked=mask is not None)
    return TextNetwork(graph, files.read(TOKENIZER), length, pad, lower)


def check_text(graph: bytes, where: str, length: int, width: int, *, masked: bool) -> None:
    """Try the graph in a limited process with the batches it will get: one phrase, and a batch of phrases."""
    takes = dict.fromkeys(("ids", "mask") if masked else ("ids",), ("int64", (length,)))
    memory = BASE_MEMORY + PER_GRAPH_BYTE * len(graph) + AT_ONCE * length**2 * PER_TOKEN_PAIR
    try:
        gives = try_graph(graph, where, takes, (1, AT_ONCE), min(memory, MAX_MEMORY))
    except BundleError as error:
        raise TrainingError(str(error)) from None
    if gives[FEATURES] != ("float32", (AT_ONCE, width)):
        raise TrainingError(f"{where} gives {gives[FEATURES]} for {AT_ONCE} phrases; rows of {width} are needed")


def tokenizing(files: SourceFiles, tokenizer: Mapping[str, Any]) -> tuple[int, int, bool]:
    """The number of tokens of a phrase, the id of the padding token, and whether phrases are lowercased first."""
    config = files.json(CONFIG) if files.has(CONFIG) else {}
    about = files.json(TOKENIZER_CONFIG) if files.has(TOKENIZER_CONFIG) else {}
    family = str(config.get("model_type", ""))
    named, cut = _part(config, "text_config"), _part(tokenizer, "truncation")
    given = (
        named.get("max_position_embeddings"),
        about.get("model_max_length"),
        cut.get("max_length"),
    )
    usable = [each for each in given if _is_whole(each, 1, MAX_TOKENS)]
    length = usable[0] if usable else LENGTHS.get(family, CLIP_LENGTH)
    # SigLIP was trained on lowercase; transformers lowercases in code, not in tokenizer.json.
    return length, pad_of(tokenizer, about), family in LENGTHS


def pad_of(tokenizer: Mapping[str, Any], about: Mapping[str, Any]) -> int:
    """The id of the padding token, from tokenizer.json and tokenizer_config.json; 0 where neither states it."""
    token = about.get("pad_token")
    token = token.get("content") if isinstance(token, Mapping) else token
    added = tokenizer.get("added_tokens")
    entries = [each for each in added if isinstance(each, Mapping)] if isinstance(added, list) else []
    candidates = [_part(tokenizer, "padding").get("pad_id")]
    if isinstance(token, str):
        candidates += [each.get("id") for each in entries if each.get("content") == token]
        candidates.append(_part(_part(tokenizer, "model"), "vocab").get(token))
    return next((each for each in candidates if _is_whole(each, 0, MAX_ID)), 0)


def _part(settings: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    part = settings.get(name)
    return part if isinstance(part, Mapping) else {}


def _is_whole(value: Any, least: int, most: int) -> TypeGuard[int]:
    """Whether the value is an int between bounds. (A tokenizer without a limit states 10^30.)"""
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most
