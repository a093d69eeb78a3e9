"""What opening a picture gives. It needs no Pillow: workers decode, and the process that asks them only waits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Pixels: TypeAlias = "NDArray[np.uint8]"  # quoted: workers start without numpy


@dataclass(frozen=True)
class Facts:
    """The facts in a file; the size of a picture is that of the upright view."""

    width: int | None  # None for what has none, such as a recording
    height: int | None
    format: str
    taken: str | None
    details: Mapping[str, Any] = field(default_factory=dict)  # camera, lens, place, keywords: see photo_metadata.py


@dataclass(frozen=True, eq=False)
class Picture:
    pixels: Pixels  # (height, width, 3) RGB
    facts: Facts
    detail: Pixels | None = None  # the same at a larger size, where one was asked for
