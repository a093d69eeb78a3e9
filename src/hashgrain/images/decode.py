"""One picture to RGB pixels, safely: formats allowed by name, size checked before anything is decoded.

Defined here, once: EXIF orientation is applied; the first frame stands for an animation; transparency lies on
white; CMYK is converted; 16-bit grey keeps its upper 8 bits; floating-point grey is stretched from its least to
its greatest value. A truncated file is refused.
"""

from __future__ import annotations

import io
import os
import re
import struct
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import (
    AvifImagePlugin,  # noqa: F401  Pillow would import all forty of its formats to find these
    BmpImagePlugin,  # noqa: F401
    GifImagePlugin,  # noqa: F401
    Image,
    JpegImagePlugin,  # noqa: F401
    MpoImagePlugin,  # noqa: F401
    PngImagePlugin,  # noqa: F401
    TiffImagePlugin,  # noqa: F401
    UnidentifiedImageError,
    WebPImagePlugin,  # noqa: F401
)

from hashgrain.errors import ImageError
from hashgrain.files import read_regular
from hashgrain.images.formats import FORMATS, HEIC_BRANDS, KNOWN, MAX_BYTES

DEFAULT_MAX_PIXELS = 100_000_000
# What Pillow and the libraries under it raise for files made to be wrong.
HOSTILE = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    AttributeError,
    ArithmeticError,
    EOFError,
    MemoryError,
    RuntimeError,
    struct.error,
    Image.DecompressionBombError,
)
EXIF_DATE, EXIF_ORIGINAL_DATE, EXIF_IFD = 306, 36867, 0x8769

Image.MAX_IMAGE_PIXELS = None  # our own cap is checked first, and says what to do
Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Facts:
    """Of the picture as a person sees it."""

    width: int
    height: int
    format: str
    taken: str | None


@dataclass(frozen=True, eq=False)
class Picture:
    pixels: Pixels  # (height, width, 3) RGB
    facts: Facts


def open_picture(
    source: Any,
    *,
    size: tuple[int, int] | None = None,
    max_pixels: int = DEFAULT_MAX_PIXELS,
    name: str = "picture",
) -> Picture:
    """Open a path, bytes, a PIL image or an array; with `size`, the whole picture squashed to (width, height)."""
    if isinstance(source, (str, os.PathLike)):
        name = os.fspath(source)
        source = read_file(name)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image = _opened(source, max_pixels, name)
            facts = _facts(image)
            pixels = np.asarray(_squashed(image, size) if size else to_rgb(_upright(image)))
    except ImageError:
        raise
    except HOSTILE as error:
        raise ImageError(f"{name}: {_plainly(error)}") from None
    return Picture(pixels, facts)


def read_file(path: str) -> bytes:
    """The bytes of a regular file of at most MAX_BYTES, or a refusal that says why."""
    try:
        return read_regular(path, MAX_BYTES)
    except OSError as error:
        raise ImageError(f"{path}: cannot be read ({error.strerror or error})") from None


def to_rgb(image: Image.Image) -> Image.Image:
    """Any mode to 8-bit RGB, by the rules at the top of this file."""
    mode = image.mode
    if mode == "RGB":
        return image
    if mode.startswith("I;16") or mode == "I":
        grey = np.asarray(image).astype(np.int64)
        # Pillow opens 16-bit grey PNG as either mode; both hold 0..65535.
        return Image.fromarray((grey.clip(0, 65535) >> 8).astype(np.uint8)).convert("RGB")
    if mode == "F":
        grey = np.nan_to_num(np.asarray(image, np.float64))
        low, high = grey.min(), grey.max()
        scaled = (grey - low) / (high - low) * 255 if high > low else np.zeros_like(grey)
        return Image.fromarray(scaled.astype(np.uint8)).convert("RGB")
    if mode in ("RGBA", "LA", "La", "RGBa", "PA") or "transparency" in image.info:
        above = image.convert("RGBA")
        white = Image.new("RGBA", above.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, above).convert("RGB")
    return image.convert("RGB")


def _opened(source: Any, max_pixels: int, name: str) -> Image.Image:
    if isinstance(source, Image.Image):
        _check_size(source.size, max_pixels, name)
        source.load()
        return source
    if isinstance(source, np.ndarray):
        return _from_array(source, max_pixels, name)
    if not isinstance(source, (bytes, bytearray, memoryview)):
        raise ImageError(f"{name}: a picture is a path, bytes, a PIL image or an array, not {type(source).__name__}")
    if not source:
        raise ImageError(f"{name}: the file is empty")
    try:
        image = Image.open(io.BytesIO(source), formats=_formats(bytes(source[:16]), name))
    except UnidentifiedImageError:
        raise ImageError(f"{name}: not a picture of a format we open ({KNOWN})") from None
    _check_size(image.size, max_pixels, name)
    return image


def _from_array(array: NDArray[Any], max_pixels: int, name: str) -> Image.Image:
    shape = array.shape
    fits = len(shape) == 2 or (len(shape) == 3 and shape[2] in (3, 4))
    if array.dtype != np.uint8 or not fits or 0 in shape:
        raise ImageError(
            f"{name}: an array is uint8 (height, width), (height, width, 3) or (height, width, 4),"
            f" not {array.dtype} {shape}"
        )
    _check_size((shape[1], shape[0]), max_pixels, name)
    return Image.fromarray(np.ascontiguousarray(array))


def _formats(start: bytes, name: str) -> list[str]:
    """The formats to try; HEIC only where its decoder is installed, and only loaded for a HEIC file."""
    if start[4:8] == b"ftyp" and start[8:12] in HEIC_BRANDS:
        try:
            import pillow_heif
        except ImportError:
            raise ImageError(f"{name}: HEIC needs an extra: pip install 'hashgrain[heic]'") from None
        pillow_heif.register_heif_opener()
        return ["HEIF", "AVIF"]
    return [known for known in FORMATS if known not in ("HEIF", "MPO")]  # MPO comes as a JPEG


def _check_size(size: tuple[int, int], max_pixels: int, name: str) -> None:
    pixels = size[0] * size[1]
    if pixels < 1:
        raise ImageError(f"{name}: the picture has no pixels")
    if pixels > max_pixels:
        raise ImageError(
            f"{name}: {size[0]} x {size[1]} is {pixels / 1e6:.0f} million pixels, more than the {max_pixels / 1e6:g}"
            " million allowed; raise the limit with --max-pixels if you trust it"
        )


def _facts(image: Image.Image) -> Facts:
    width, height = image.size
    orientation, taken = 1, None
    try:
        exif = image.getexif()
        orientation = exif.get(0x0112, 1)
        taken = _date(exif.get_ifd(EXIF_IFD).get(EXIF_ORIGINAL_DATE)) or _date(exif.get(EXIF_DATE))
    except HOSTILE:
        pass  # broken notes about a picture do not make it a broken picture
    if orientation in (5, 6, 7, 8):
        width, height = height, width
    return Facts(width, height, FORMATS.get(image.format or "", "pixels"), taken)


def _date(text: object) -> str | None:
    """EXIF's "2021:05:01 13:20:11" as "2021-05-01T13:20:11"; nonsense as nothing."""
    found = re.match(r"(\d{4}):(\d\d):(\d\d)[ T](\d\d):(\d\d):(\d\d)", text) if isinstance(text, str) else None
    if not found:
        return None
    year, month, day, hour, minute, second = found.groups()
    if not ("01" <= month <= "12" and "01" <= day <= "31" and hour <= "23" and minute <= "59" and second <= "60"):
        return None
    return f"{year}-{month}-{day}T{hour}:{minute}:{second}"


def _squashed(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Resized while still cheap: JPEG is decoded at a fraction of its size, turning comes last."""
    swapped = _orientation(image) in (5, 6, 7, 8)
    target = (size[1], size[0]) if swapped else size
    image.draft("RGB", (2 * target[0], 2 * target[1]))  # no effect on other formats
    small = to_rgb(image)
    if small.size != target:
        small = small.resize(target, Image.Resampling.BILINEAR, reducing_gap=2.0)
    return _turned(small, _orientation(image))


def _upright(image: Image.Image) -> Image.Image:
    image.load()
    return _turned(image, _orientation(image))


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(0x0112, 1))
    except HOSTILE:
        return 1


def _turned(image: Image.Image, orientation: int) -> Image.Image:
    turns = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_270,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_90,
    }
    return image.transpose(turns[orientation]) if orientation in turns else image


def _plainly(error: BaseException) -> str:
    if isinstance(error, MemoryError):
        return "needs more memory than there is for one picture"
    text = str(error).strip()
    if "truncated" in text or "Truncated" in text or isinstance(error, EOFError):
        return "the file is cut short"
    return f"the file is damaged ({text or type(error).__name__})"
