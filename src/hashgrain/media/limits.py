"""What decoding one picture, or another item, may take."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hashgrain.types import Box, Fit


@dataclass(frozen=True)
class Limits:
    """Of one picture."""

    size: tuple[int, int] | None
    max_pixels: int
    timeout: float
    memory: int  # of the whole process
    decoding: int  # that the picture may take, as far as its header tells
    medium: str = "picture"
    fit: Fit = "squash"
    detail: tuple[int, int] | None = None  # a second size that is wanted, larger than the first
    box: Box | None = None  # the part of the picture that is wanted, instead of the whole
    edge: int | None = None  # shrunk to at most that many pixels either way, if no size is wanted
    header: bool = False  # only the facts of the file are wanted: one pixel stands for all
