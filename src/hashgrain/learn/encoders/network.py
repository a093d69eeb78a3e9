"""The common form of every source: a graph from pixels to features, and optionally one from phrases."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class TextNetwork:
    """The text half of a pair: its `features` share a space with those of pictures."""

    graph: bytes  # int64 `ids` (n, length), and optionally `mask`, to float32 `features` (n, width)
    tokenizer: bytes  # a tokenizer.json
    length: int
    pad: int
    lower: bool


@dataclass(frozen=True)
class Network:
    graph: bytes  # uint8 `pixels` (n, size, size, 3) to float32 `features` (n, width), and optionally `map`
    size: int
    width: int
    source: Mapping[str, Any]  # the lock: its origin, and the files that were used
    text: TextNetwork | None = None
