"""Text towers small enough to know by heart: a row of outputs a token, summed over the phrase."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hashgrain.models import TextTower
from made_graphs import FLOAT, INT64, inner, integers, model, node, tensor, value, whole

LENGTH = 8
PAD, UNKNOWN, FIRST, LAST = 0, 1, 2, 3
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
START, END = "<|startoftext|>", "<|endoftext|>"
Rows = NDArray[np.float32]


def text_model(
    nodes: Sequence[bytes],
    tensors: Sequence[bytes],
    takes: Sequence[bytes],
    bits: int,
    gives: bytes | None = None,
) -> bytes:
    parts = [
        b"".join(inner(1, each) for each in nodes),
        inner(2, "text"),
        b"".join(inner(5, each) for each in tensors),
        b"".join(inner(11, each) for each in takes),
        inner(12, gives or value("outputs", FLOAT, ["batch", bits])),
    ]
    return model(b"".join(parts))


def ids_input(length: int = LENGTH, kind: int = INT64) -> bytes:
    return value("ids", kind, ["batch", length])


def mask_input(length: int = LENGTH) -> bytes:
    return value("mask", INT64, ["batch", length])


def floats_of(name: str, rows: Rows) -> bytes:
    return tensor(name, FLOAT, rows.shape, np.ascontiguousarray(rows, "<f4").tobytes())


def summing_graph(rows: Rows, length: int = LENGTH) -> bytes:
    """The sum of the rows of all tokens that the mask has."""
    nodes = [
        node("Gather", ["rows", "ids"], ["each"]),
        node("Cast", ["mask"], ["counts"], [whole("to", FLOAT)]),
        node("Unsqueeze", ["counts", "last"], ["column"]),
        node("Mul", ["each", "column"], ["masked"]),
        node("ReduceSum", ["masked", "one"], ["outputs"], [whole("keepdims", 0)]),
    ]
    tensors = [floats_of("rows", rows), integers("last", -1), integers("one", 1)]
    return text_model(nodes, tensors, [ids_input(length), mask_input(length)], rows.shape[1])


def pooling_graph(rows: Rows, length: int = LENGTH) -> bytes:
    """The sum of all tokens up to the one of the highest id, as CLIP pools at the end of a text; it takes no mask."""
    nodes = [
        node("Gather", ["rows", "ids"], ["each"]),
        node("CumSum", ["each", "axis"], ["so_far"]),
        node("ArgMax", ["ids"], ["end"], [whole("axis", 1), whole("keepdims", 1)]),
        node("GatherND", ["so_far", "end"], ["outputs"], [whole("batch_dims", 1)]),
    ]
    tensors = [floats_of("rows", rows), tensor("axis", INT64, [], (1).to_bytes(8, "little"))]
    return text_model(nodes, tensors, [ids_input(length)], rows.shape[1])


def tokenizer_json(model: Mapping[str, Any], **parts: Any) -> bytes:
    empty = ["truncation", "padding", "normalizer", "pre_tokenizer", "post_processor", "decoder"]
    whole_file = {"version": "1.0", **dict.fromkeys(empty), "added_tokens": [], "model": dict(model), **parts}
    return json.dumps(whole_file).encode()


def added(content: str, place: int) -> dict[str, Any]:
    flags = dict.fromkeys(["single_word", "lstrip", "rstrip", "normalized"], False)
    return {"id": place, "content": content, **flags, "special": True}


def wordpiece(words: Sequence[str]) -> bytes:
    """As BERT has it: [CLS] and [SEP] around, words in small letters, [UNK] for those it does not know."""
    vocabulary = {word: place for place, word in enumerate([*SPECIAL, *words])}
    around = {name: {"id": name, "ids": [vocabulary[name]], "tokens": [name]} for name in ("[CLS]", "[SEP]")}
    one = [
        {"SpecialToken": {"id": "[CLS]", "type_id": 0}},
        {"Sequence": {"id": "A", "type_id": 0}},
        {"SpecialToken": {"id": "[SEP]", "type_id": 0}},
    ]
    return tokenizer_json(
        {
            "type": "WordPiece",
            "unk_token": "[UNK]",
            "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100,
            "vocab": vocabulary,
        },
        added_tokens=[added(name, place) for place, name in enumerate(SPECIAL)],
        normalizer={
            "type": "BertNormalizer",
            "clean_text": True,
            "handle_chinese_chars": True,
            "strip_accents": None,
            "lowercase": True,
        },
        pre_tokenizer={"type": "BertPreTokenizer"},
        post_processor={"type": "TemplateProcessing", "single": one, "pair": one, "special_tokens": around},
    )


def clip(words: Sequence[str]) -> tuple[bytes, dict[str, int]]:
    """As CLIP has it: pairs of bytes merged into the words, ids of the bytes for all else. Also its vocabulary."""
    letters = [_shown(byte) for byte in range(256)]
    vocabulary = {name: place for place, name in enumerate([*letters, *(letter + "</w>" for letter in letters)])}
    merges: list[list[str]] = []
    for word in words:
        parts = [*word[:-1], word[-1] + "</w>"]
        while len(parts) > 1:
            merges.append(parts[:2])
            parts[:2] = ["".join(parts[:2])]
            vocabulary.setdefault(parts[0], len(vocabulary))
    for name in (START, END):
        vocabulary[name] = len(vocabulary)
    once = [list(pair) for pair in dict.fromkeys(map(tuple, merges))]
    pattern = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
    bytes_of = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    content = tokenizer_json(
        {
            "type": "BPE",
            "dropout": None,
            "unk_token": END,
            "continuing_subword_prefix": "",
            "end_of_word_suffix": "</w>",
            "fuse_unk": False,
            "byte_fallback": False,
            "vocab": vocabulary,
            "merges": once,
        },
        added_tokens=[added(name, vocabulary[name]) for name in (START, END)],
        normalizer={
            "type": "Sequence",
            "normalizers": [
                {"type": "NFC"},
                {"type": "Replace", "pattern": {"Regex": r"\s+"}, "content": " "},
                {"type": "Lowercase"},
            ],
        },
        pre_tokenizer={
            "type": "Sequence",
            "pretokenizers": [
                {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Removed", "invert": True},
                bytes_of,
            ],
        },
        post_processor={
            "type": "RobertaProcessing",
            "sep": [END, vocabulary[END]],
            "cls": [START, vocabulary[START]],
            "trim_offsets": False,
            "add_prefix_space": False,
        },
    )
    return content, vocabulary


def wordpiece_tower(words: Mapping[str, Rows], length: int = LENGTH) -> TextTower:
    """A tower for which a phrase is the sum of its words; all else is nothing."""
    rows = np.stack([*[np.zeros_like(next(iter(words.values())))] * len(SPECIAL), *words.values()])
    return TextTower(summing_graph(rows, length), wordpiece(list(words)), length, PAD)


def clip_tower(words: Mapping[str, Rows], length: int = LENGTH) -> TextTower:
    content, vocabulary = clip(list(words))
    rows = np.zeros((len(vocabulary), len(next(iter(words.values())))), np.float32)
    for word, row in words.items():
        rows[vocabulary[word + "</w>"]] = row
    return TextTower(pooling_graph(rows, length), content, length, vocabulary[END])


def _shown(byte: int) -> str:
    """The letter that byte-level tokenizers write for a byte: itself where it can be seen."""
    seen = [*range(33, 127), *range(161, 173), *range(174, 256)]
    return chr(byte) if byte in seen else chr(256 + [each for each in range(256) if each not in seen].index(byte))
