"""Small pictures to show to a person."""

from __future__ import annotations

import io
from typing import Any

from PIL import Image

from hashgrain.media.cost import DEFAULT_MAX_PIXELS
from hashgrain.media.image import open_picture
from hashgrain.media.picture import Pixels


def thumbnail(source: Any, *, edge: int = 256, max_pixels: int = DEFAULT_MAX_PIXELS, name: str = "picture") -> bytes:
    """A JPEG of at most `edge` pixels either way, upright, without any of the original's metadata."""
    return jpeg_of(open_picture(source, edge=edge, max_pixels=max_pixels, name=name).pixels)


def jpeg_of(pixels: Pixels) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "jpeg", quality=82)
    return file.getvalue()
