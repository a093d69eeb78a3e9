"""One picture to RGB pixels, safely: formats allowed by name, size checked before anything is decoded.

Defined here, once: EXIF orientation is applied; the first frame stands for an animation; transparency lies on
white; CMYK is converted; 16-bit gray keeps its upper 8 bits; floating-point gray is stretched from its least to
its greatest value. A truncated file is refused.
"""

from __future__ import annotations

import contextlib
import io
import math
import os
import re
import struct
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from PIL import (
    BmpImagePlugin,  # noqa: F401  Pillow would import all forty of its formats to find these
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
from hashgrain.media.contents import read_file
from hashgrain.media.cost import DEFAULT_MAX_PIXELS, budget, check_cost, check_pixels
from hashgrain.media.cropping import fractions_of, pixels_of
from hashgrain.media.extra_formats import extra_format, is_raw, open_raw
from hashgrain.media.fitting import padded, resized
from hashgrain.media.formats import EXTRA_FORMATS, FORMATS, KNOWN
from hashgrain.media.photo_metadata import details_of
from hashgrain.media.picture import Facts, Picture

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hashgrain.types import Box, Fit

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

BAND = 1 << 22  # pixels converted at a time

Image.MAX_IMAGE_PIXELS = None  # our own cap is checked first, and says what to do


@dataclass(frozen=True)
class _Opened:
    """A picture whose header is read, and not yet more."""

    image: Image.Image
    data: bytes  # empty if it did not come as a file
    exif: Image.Exif
    facts: Facts


def open_picture(
    source: Any,
    *,
    size: tuple[int, int] | None = None,
    fit: Fit = "squash",
    max_pixels: int = DEFAULT_MAX_PIXELS,
    name: str = "picture",
    edge: int | None = None,
    memory: int | None = None,
    box: Box | None = None,
) -> Picture:
    """Open a path, bytes, a PIL image or an array; with `size`, brought to (width, height) as `fit` says, with `edge`,
    shrunk to at most that many pixels either way. `memory` is how many bytes decoding it may take."""
    import numpy as np  # not at the top: a worker has Pillow alone, and starts in a third of the time

    more = {"edge": edge, "memory": memory, "box": box}
    image, facts = open_image(source, size=size, fit=fit, max_pixels=max_pixels, name=name, **more)  # type: ignore[arg-type]
    return Picture(np.asarray(image), facts)


def open_image(
    source: Any,
    *,
    size: tuple[int, int] | None = None,
    fit: Fit = "squash",
    max_pixels: int = DEFAULT_MAX_PIXELS,
    name: str = "picture",
    edge: int | None = None,
    memory: int | None = None,
    box: Box | None = None,
) -> tuple[Image.Image, Facts]:
    """As `open_picture`, but an image of Pillow in mode RGB."""
    path = None
    if isinstance(source, (str, os.PathLike)):
        name = path = os.fspath(source)
        source = read_file(name)
    allowed = budget(max_pixels) if memory is None else memory
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            opened = _opened(source, max_pixels, allowed, name)
            part = None if box is None else fractions_of(box, _upright_size(opened), name)
            _draft(opened, size, edge, part)
            check_cost(opened.image, opened.data, allowed, name)
            if part is not None:
                return _cropped(opened, part, size, edge, fit), opened.facts
            return _shaped(opened, size, edge, fit), opened.facts
    except ImageError as error:
        error.path = path
        raise
    except HOSTILE as error:
        raise ImageError(f"{name}: {_reason(error)}", path=path) from None


def facts_of(data: bytes, *, name: str = "picture", max_pixels: int = DEFAULT_MAX_PIXELS) -> Facts:
    """The facts in the header of a picture's file; no pixel is decoded."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _opened(data, max_pixels, budget(max_pixels), name).facts
    except ImageError:
        raise
    except HOSTILE as error:
        raise ImageError(f"{name}: {_reason(error)}") from None


def to_rgb(image: Image.Image) -> Image.Image:
    """Any mode to 8-bit RGB, by the rules at the top of this file."""
    if image.mode == "RGB":
        return image
    if image.mode == "F":
        return _stretched(image)
    image.load()
    if image.width * image.height <= BAND:
        return _converted(image)
    rgb = Image.new("RGB", image.size)  # in bands: converting all of it at once would take several times its memory
    rows = max(1, BAND // image.width)
    for top in range(0, image.height, rows):
        band = image.crop((0, top, image.width, min(top + rows, image.height)))
        rgb.paste(_converted(band), (0, top))
    return rgb


def _converted(image: Image.Image) -> Image.Image:
    mode = image.mode
    if mode.startswith("I;16") or mode == "I":
        import numpy as np

        gray = np.asarray(image).astype(np.int64)
        # Pillow opens 16-bit gray PNG as either mode; both hold 0..65535.
        return Image.fromarray((gray.clip(0, 65535) >> 8).astype(np.uint8)).convert("RGB")
    if mode in ("RGBA", "LA", "La", "RGBa", "PA") or "transparency" in image.info:
        above = image.convert("RGBA")
        white = Image.new("RGBA", above.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, above).convert("RGB")
    return image.convert("RGB")


def _stretched(image: Image.Image) -> Image.Image:
    """Floating-point gray, from its least to its greatest value; a band at a time, in double precision."""
    import numpy as np

    image.load()
    bands = [(0, top, image.width, min(top + 256, image.height)) for top in range(0, image.height, 256)]
    spans = [
        (part.min(), part.max()) for part in (np.nan_to_num(np.asarray(image.crop(box), np.float64)) for box in bands)
    ]
    low, high = float(min(span[0] for span in spans)), float(max(span[1] for span in spans))
    gray = Image.new("L", image.size)
    for box in bands:
        part = np.nan_to_num(np.asarray(image.crop(box), np.float64))
        scaled = (part - low) / (high - low) * 255 if high > low else np.zeros_like(part)
        gray.paste(Image.fromarray(scaled.astype(np.uint8)), box[:2])
    return gray.convert("RGB")


def _opened(source: Any, max_pixels: int, allowed: int, name: str) -> _Opened:
    if isinstance(source, Image.Image):
        check_pixels(source.size, max_pixels, name)
        return _described(source, b"")
    if not isinstance(source, (bytes, bytearray, memoryview)):
        if hasattr(source, "__array_interface__") and hasattr(source, "dtype"):
            return _described(_from_array(source, max_pixels, name), b"")
        raise ImageError(f"{name}: a picture is a path, bytes, a PIL image or an array, not {type(source).__name__}")
    if not source:
        raise ImageError(f"{name}: the file is empty")
    data = bytes(source)
    if is_raw(data):
        raw = open_raw(data, max_pixels, allowed, name)
        facts = _facts(raw.image, raw.exif)
        return _Opened(raw.image, b"", raw.image.getexif(), Facts(*raw.size, "raw", facts.taken, facts.details))
    extra = extra_format(data, max_pixels, name)
    formats = [extra] if extra else [known for known in FORMATS if known not in EXTRA_FORMATS]  # MPO comes as a JPEG
    if data[4:8] == b"ftyp":
        from PIL import AvifImagePlugin  # noqa: F401  the slowest to load
    try:
        image = Image.open(io.BytesIO(data), formats=[*formats, "AVIF"] if extra == "HEIF" else formats)
    except UnidentifiedImageError:
        raise ImageError(f"{name}: not a picture of a format we open ({KNOWN})") from None
    check_pixels(image.size, max_pixels, name)
    return _described(image, data)


def _described(image: Image.Image, data: bytes) -> _Opened:
    try:
        exif = image.getexif()
    except HOSTILE:  # broken metadata does not make a broken picture
        exif = Image.Exif()
    return _Opened(image, data, exif, _facts(image, exif))


def _from_array(array: NDArray[Any], max_pixels: int, name: str) -> Image.Image:
    import numpy as np

    shape = array.shape
    fits = len(shape) == 2 or (len(shape) == 3 and shape[2] in (3, 4))
    if array.dtype != np.uint8 or not fits or 0 in shape:
        raise ImageError(
            f"{name}: an array is uint8 (height, width), (height, width, 3) or (height, width, 4),"
            f" not {array.dtype} {shape}"
        )
    check_pixels((shape[1], shape[0]), max_pixels, name)
    return Image.fromarray(np.ascontiguousarray(array))


def _facts(image: Image.Image, exif: Image.Exif) -> Facts:
    width, height = image.size
    if _orientation(exif) in (5, 6, 7, 8):
        width, height = height, width
    taken = None
    with contextlib.suppress(*HOSTILE):
        taken = _date(exif.get_ifd(EXIF_IFD).get(EXIF_ORIGINAL_DATE)) or _date(exif.get(EXIF_DATE))
    details = details_of(image, exif, HOSTILE)
    return Facts(width, height, FORMATS.get(image.format or "", "pixels"), taken, details)


def _date(text: object) -> str | None:
    """EXIF's "2021:05:01 13:20:11" as "2021-05-01T13:20:11"; nonsense as nothing."""
    match = re.match(r"(\d{4}):(\d\d):(\d\d)[ T](\d\d):(\d\d):(\d\d)", text) if isinstance(text, str) else None
    if not match:
        return None
    year, month, day, hour, minute, second = match.groups()
    if not ("01" <= month <= "12" and "01" <= day <= "31" and hour <= "23" and minute <= "59" and second <= "60"):
        return None
    return f"{year}-{month}-{day}T{hour}:{minute}:{second}"


def _upright_size(opened: _Opened) -> tuple[int, int]:
    width, height = opened.image.size
    return (height, width) if _is_turned(opened) else (width, height)


def _draft(opened: _Opened, size: tuple[int, int] | None, edge: int | None, part: Box | None) -> None:
    """Have a JPEG decoded at a fraction of its size, at least twice what is wanted. No effect on other formats."""
    image = opened.image
    if size and part is not None:
        size = math.ceil(size[0] / (part[2] - part[0])), math.ceil(size[1] / (part[3] - part[1]))
    if size:
        image.draft("RGB", (2 * size[0], 2 * size[1]) if not _is_turned(opened) else (2 * size[1], 2 * size[0]))
    elif edge and 2 * edge < (longest := max(_part_size(opened, part))):
        share = 2 * edge / longest
        image.draft("RGB", (max(1, round(image.width * share)), max(1, round(image.height * share))))


def _shaped(opened: _Opened, size: tuple[int, int] | None, edge: int | None, fit: Fit) -> Image.Image:
    """Resized while still cheap: turning comes afterwards."""
    image = opened.image
    image.load()
    small = to_rgb(image)
    if size:
        small = resized(small, (size[1], size[0]) if _is_turned(opened) else size, fit)
    elif edge:
        small = _within(small, edge)
    upright = _turned(small, _orientation(opened.exif))
    return padded(upright, size) if size else upright


def _within(image: Image.Image, edge: int) -> Image.Image:
    share = min(1.0, edge / max(image.size))
    target = (max(1, round(image.width * share)), max(1, round(image.height * share)))
    return image.resize(target, Image.Resampling.BILINEAR, reducing_gap=2.0)


def _part_size(opened: _Opened, part: Box | None) -> tuple[float, float]:
    """The size in pixels of a part of the upright picture, or of the whole."""
    width, height = _upright_size(opened)
    return (width, height) if part is None else (width * (part[2] - part[0]), height * (part[3] - part[1]))


def _cropped(opened: _Opened, part: Box, size: tuple[int, int] | None, edge: int | None, fit: Fit) -> Image.Image:
    """A part of the upright picture."""
    opened.image.load()
    upright = _turned(to_rgb(opened.image), _orientation(opened.exif))
    crop = upright.crop(pixels_of(part, upright.size))
    if size:
        return padded(resized(crop, size, fit), size)
    return _within(crop, edge) if edge else crop


def _is_turned(opened: _Opened) -> bool:
    return _orientation(opened.exif) in (5, 6, 7, 8)


def _orientation(exif: Image.Exif) -> int:
    try:
        return int(exif.get(0x0112, 1))
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


def _reason(error: BaseException) -> str:
    if isinstance(error, MemoryError):
        return "needs more memory than there is for one picture"
    text = str(error).strip()
    if "truncated" in text or "Truncated" in text or isinstance(error, EOFError):
        return "the file is cut short"
    return f"the file is damaged ({text or type(error).__name__})"
