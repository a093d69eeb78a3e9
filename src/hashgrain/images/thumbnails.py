"""Small pictures to show to a person."""

from __future__ import annotations

import io
from typing import Any

from PIL import Image

from hashgrain.images.decode import DEFAULT_MAX_PIXELS, open_picture


def thumbnail(source: Any, *, edge: int = 256, max_pixels: int = DEFAULT_MAX_PIXELS, name: str = "picture") -> bytes:
    """A JPEG of at most `edge` pixels either way, upright, without any of the original's metadata."""
    image = Image.fromarray(open_picture(source, max_pixels=max_pixels, name=name).pixels)
    image.thumbnail((edge, edge), Image.Resampling.BILINEAR, reducing_gap=2.0)
    file = io.BytesIO()
    image.save(file, "jpeg", quality=82)
    return file.getvalue()
