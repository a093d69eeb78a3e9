"""A text tower: a network that reads phrases, and the tokenizer before it, so that words and pictures meet as codes."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Any

KEY = "text_tower"  # of model.json


@dataclass(frozen=True)
class TextTower:
    """`onnx` takes int64 `ids` (n, length), and int64 `mask` (n, length) if it has such an input; it gives float32
    `outputs` (n, bits), which agree in sign with those of the pictures that a phrase tells of."""

    onnx: bytes
    tokenizer: bytes  # a tokenizer.json of the `tokenizers` library
    length: int  # tokens a phrase is cut or padded to
    pad: int  # the id that pads
    lower: bool = False  # whether a phrase is put in small letters first

    @cached_property
    def onnx_sha256(self) -> str:
        return hashlib.sha256(self.onnx).hexdigest()

    @cached_property
    def tokenizer_sha256(self) -> str:
        return hashlib.sha256(self.tokenizer).hexdigest()

    def described(self) -> dict[str, Any]:
        """What model.json says of it."""
        return {
            "onnx_sha256": self.onnx_sha256,
            "onnx_bytes": len(self.onnx),
            "tokenizer_sha256": self.tokenizer_sha256,
            "tokenizer_bytes": len(self.tokenizer),
            "length": self.length,
            "pad": self.pad,
            "lower": self.lower,
        }
