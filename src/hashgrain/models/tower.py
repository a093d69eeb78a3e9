"""A text tower: a network that reads phrases, with its tokenizer, so that phrases and pictures meet as codes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

KEY = "text_tower"  # of model.json
FILES = ("onnx", "tokenizer")


@dataclass(frozen=True)
class TextTower:
    """`onnx` takes int64 `ids` (n, length), and int64 `mask` (n, length) if it has such an input; it gives float32
    `outputs` (n, bits), which agree in sign with those of the pictures that a phrase tells of."""

    onnx: bytes = field(repr=False)
    tokenizer: bytes = field(repr=False)  # a tokenizer.json of the `tokenizers` library
    length: int  # tokens a phrase is cut or padded to
    pad: int  # the id that pads
    lower: bool = False  # whether a phrase is put in small letters first

    @classmethod
    def stored(cls, described: Mapping[str, Any], load: Callable[[str], bytes]) -> TextTower:
        """A tower whose files `load` reads by field name, on first use: a search by pictures reads none. `described`
        is the result of the method of this name."""
        tower = object.__new__(cls)
        tower.__dict__.update(described, _load=load)
        return tower

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> bytes:
            if name not in FILES or "_load" not in self.__dict__:
                raise AttributeError(f"a text tower has no {name!r}")
            return self.__dict__.setdefault(name, self.__dict__["_load"](name))

    @cached_property
    def onnx_sha256(self) -> str:
        return hashlib.sha256(self.onnx).hexdigest()

    @cached_property
    def onnx_bytes(self) -> int:
        return len(self.onnx)

    @cached_property
    def tokenizer_sha256(self) -> str:
        return hashlib.sha256(self.tokenizer).hexdigest()

    @cached_property
    def tokenizer_bytes(self) -> int:
        return len(self.tokenizer)

    def described(self) -> dict[str, Any]:
        """Its entry in model.json."""
        files = {f"{name}_{what}": getattr(self, f"{name}_{what}") for name in FILES for what in ("sha256", "bytes")}
        return {**files, "length": self.length, "pad": self.pad, "lower": self.lower}
