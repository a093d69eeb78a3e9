"""What decoding one picture, or another item, may take."""

from __future__ import annotations

from dataclasses import dataclass

from hashgrain.types import Fit


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
    edge: int | None = None  # shrunk to at most that many pixels either way, where no size is asked for
    header: bool = False  # only what the file says of itself is wanted: one pixel stands for all
