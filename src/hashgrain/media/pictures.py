"""Pictures as a medium; `image` decodes them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from hashgrain.errors import ImageError
from hashgrain.media.formats import SUFFIXES, looks_like_a_picture
from hashgrain.media.picture import Facts, Picture

if TYPE_CHECKING:
    from hashgrain.media.limits import Limits


class Pictures:
    name = "picture"
    suffixes = SUFFIXES
    dtype = "|u1"
    axes = 3

    def begins(self, start: bytes) -> bool:
        return looks_like_a_picture(start)

    def decode(self, data: bytes, limits: Limits) -> tuple[Any, Facts]:
        """An image of Pillow, (height, width, 3): a worker has no numpy."""
        from PIL import Image

        from hashgrain.media.image import facts_of, open_image

        fit, most, memory = limits.fit, limits.max_pixels, limits.decoding
        if limits.header:
            return Image.new("RGB", (1, 1)), facts_of(data, max_pixels=most, name="")
        wanted: Any = {"size": limits.size, "edge": limits.edge, "box": limits.box}
        return open_image(data, fit=fit, max_pixels=most, memory=memory, name="", **wanted)

    def opened(self, array: Any, facts: Mapping[str, Any]) -> Picture:
        return Picture(array, Facts(**facts))

    def error(self, reason: str) -> ImageError:
        return ImageError(reason)

    def thumbnail(self, data: bytes, *, edge: int) -> bytes:
        from hashgrain.media.thumbnails import thumbnail

        return thumbnail(data, edge=edge)


PICTURES = Pictures()
