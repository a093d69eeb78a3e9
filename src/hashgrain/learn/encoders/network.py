"""What every source comes to: a graph of ours from pixels to features, and maybe one from phrases."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class TextNetwork:
    """The text half of a pair: its `features` lie in one space with those of pictures."""

    graph: bytes  # int64 `ids` (n, length), and `mask` where it takes one, to float32 `features` (n, width)
    tokenizer: bytes  # a tokenizer.json
    length: int
    pad: int
    lower: bool


@dataclass(frozen=True)
class Network:
    graph: bytes  # uint8 `pixels` (n, size, size, 3) to float32 `features` (n, width), and maybe `map`
    size: int
    width: int
    source: Mapping[str, Any]  # the lock: where it comes from, and what was taken
    text: TextNetwork | None = None
