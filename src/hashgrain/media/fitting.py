"""How a picture of any shape becomes one of a model's input size.

`squash` resizes the whole picture, without keeping its proportions. `fit` keeps them: the whole picture stands in the
middle, on gray. `crop` keeps them too: the middle of the picture fills the input, and what is left over is cut off.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from PIL import Image

if TYPE_CHECKING:
    from hashgrain.types import Fit

GRAY = (128, 128, 128)  # around a picture that does not fill the input: near the mean color of photographs
Size = tuple[int, int]


def resized(image: Image.Image, size: Size, fit: Fit) -> Image.Image:
    """The picture at `size`; with `fit`, at the largest size within it that has the picture's proportions."""
    box, target = None, size
    if fit == "crop":
        box = _middle(image.size, size)
    elif fit == "fit":
        target = _within(image.size, size)
    if image.size == target and box in (None, (0, 0, *target)):
        return image
    return image.resize(target, Image.Resampling.BILINEAR, box=box, reducing_gap=2.0)


def padded(image: Image.Image, size: Size) -> Image.Image:
    """The picture in the middle of gray, where it does not fill `size`."""
    if image.size == size:
        return image
    canvas = Image.new("RGB", size, GRAY)
    canvas.paste(image, (round((size[0] - image.width) / 2), round((size[1] - image.height) / 2)))
    return canvas


def _within(picture: Size, size: Size) -> Size:
    share = min(size[0] / picture[0], size[1] / picture[1])
    return max(1, round(picture[0] * share)), max(1, round(picture[1] * share))


def _middle(picture: Size, size: Size) -> tuple[float, float, float, float]:
    """The largest box with the proportions of `size`, in the middle of the picture."""
    share = max(size[0] / picture[0], size[1] / picture[1])
    width, height = min(picture[0], size[0] / share), min(picture[1], size[1] / share)
    left, top = (picture[0] - width) / 2, (picture[1] - height) / 2
    return left, top, left + width, top + height
