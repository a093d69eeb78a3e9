"""CLIP's own tokenizer from the open_clip package, converted to a tokenizer.json."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

from hashgrain.errors import TrainingError

VOCABULARY = "bpe_simple_vocab_16e6.txt.gz"
MERGES = slice(1, 49152 - 256 - 2 + 1)  # the lines of the file that CLIP uses
START, END = "<start_of_text>", "<end_of_text>"
PATTERN = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"


def clip_tokenizer() -> bytes:
    import open_clip

    path = Path(open_clip.__file__).parent / VOCABULARY
    try:
        lines = gzip.decompress(path.read_bytes()).decode().split("\n")[MERGES]
    except OSError:
        raise TrainingError(f"open_clip brings no {VOCABULARY}; install open_clip_torch again") from None
    return json.dumps(described([tuple(line.split()) for line in lines]), ensure_ascii=False).encode()


def described(merges: list[tuple[str, ...]]) -> dict[str, Any]:
    """Lowercase byte-level BPE whose words end in </w>, between a start and an end mark."""
    letters = [*byte_letters()]
    words = [*letters, *(letter + "</w>" for letter in letters), *("".join(merge) for merge in merges), START, END]
    vocabulary = {word: number for number, word in enumerate(words)}
    marks = [
        {"id": vocabulary[mark], "content": mark, "special": True, "normalized": False}
        | dict.fromkeys(("single_word", "lstrip", "rstrip"), False)
        for mark in (START, END)
    ]
    begin, end = ({"SpecialToken": {"id": mark, "type_id": 0}} for mark in (START, END))
    tokens = {mark: {"id": mark, "ids": [vocabulary[mark]], "tokens": [mark]} for mark in (START, END)}
    single = [begin, {"Sequence": {"id": "A", "type_id": 0}}, end]
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": marks,
        "normalizer": {
            "type": "Sequence",
            "normalizers": [
                {"type": "NFC"},
                {"type": "Replace", "pattern": {"Regex": r"\s+"}, "content": " "},
                {"type": "Lowercase"},
            ],
        },
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [
                {"type": "Split", "pattern": {"Regex": PATTERN}, "behavior": "Removed", "invert": True},
                {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False},
            ],
        },
        "post_processor": {
            "type": "TemplateProcessing",
            "single": single,
            "pair": [*single, {"Sequence": {"id": "B", "type_id": 0}}, end],
            "special_tokens": tokens,
        },
        "decoder": None,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": "",
            "end_of_word_suffix": "</w>",
            "fuse_unk": False,
            "byte_fallback": False,
            "vocab": vocabulary,
            "merges": [list(merge) for merge in merges],
        },
    }


def byte_letters() -> list[str]:
    """A printable character for each byte, as in GPT-2: printable bytes first, then the others from 256 on."""
    plain = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in plain]
    return [*map(chr, plain), *(chr(256 + place) for place in range(len(others)))]
