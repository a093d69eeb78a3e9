"""Formats that Pillow does not read by itself: HEIC, and, by extras, JPEG XL and the raw files of cameras.

The bytes decide, not the suffix. A raw file is mostly a TIFF, and Pillow would take the stamp-sized picture at its
front for the whole; so it is looked for first.
"""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass
from typing import Any

from PIL import Image

from hashgrain.errors import ImageError
from hashgrain.media.cost import check_pixels
from hashgrain.media.formats import HEIC_BRANDS

JXL_CODESTREAM, JXL_CONTAINER = b"\xff\x0a", b"\x00\x00\x00\x0cJXL \r\n\x87\n"
JXL_RATIOS = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))  # of width to height
JXL_BITS = (9, 13, 18, 30)
RAW_STARTS = (b"FUJIFILMCCD-RAW", b"IIRO", b"IIRS", b"MMOR", b"IIU\0")  # Fujifilm, Olympus, Panasonic
TIFF_STARTS = {b"II*\0": "<", b"MM\0*": ">"}
SUBFILE, PHOTOMETRIC, MAKE, SUB_IFDS, DNG_VERSION = 254, 262, 271, 330, 50706
COLOR_FILTER_ARRAY, LINEAR_RAW = 32803, 34892
MAX_TAGS = 512
LEAST_PREVIEW = 512  # pixels along the longer edge: a smaller embedded picture is a stamp
TURNS = {3: 3, 5: 8, 6: 6}  # LibRaw's flip as an EXIF orientation


@dataclass(frozen=True)
class Raw:
    """The picture in a raw file, and what the file says of the photograph."""

    image: Image.Image
    size: tuple[int, int]  # of the photograph, upright
    exif: Image.Exif


def extra_format(data: bytes, max_pixels: int, name: str) -> str | None:
    """The name of Pillow's format for HEIC or JPEG XL, its decoder loaded; None for what Pillow reads by itself."""
    if data[4:8] == b"ftyp" and data[8:12] in HEIC_BRANDS:
        try:
            import pi_heif
        except ImportError:
            raise ImageError(f"{name}: HEIC needs a package that is missing: pip install pi-heif") from None
        pi_heif.register_heif_opener()
        return "HEIF"
    if data.startswith((JXL_CODESTREAM, JXL_CONTAINER)):
        try:
            from pillow_jxl import JpegXLImagePlugin
        except ImportError:
            raise ImageError(f"{name}: JPEG XL needs an extra: pip install 'hashgrain[jxl]'") from None
        JpegXLImagePlugin.DECODE_THREADS = 0  # threads would each take their stack out of a worker's memory
        check_pixels(_jxl_size(data, name), max_pixels, name)  # this decoder decodes when it opens
        return "JXL"
    return None


def is_raw(data: bytes) -> bool:
    """Whether the bytes are a raw file: by its start, or as a TIFF whose first page is no picture for people."""
    if data.startswith(RAW_STARTS) or (data[:4] in TIFF_STARTS and data[8:10] == b"CR"):
        return True
    order = TIFF_STARTS.get(data[:4])
    if order is None or len(data) < 8:
        return False
    tags = _first_page(data, order)
    stamp = bool(tags.get(SUBFILE, 0) & 1) and SUB_IFDS in tags and MAKE in tags
    return stamp or DNG_VERSION in tags or tags.get(PHOTOMETRIC) in (COLOR_FILTER_ARRAY, LINEAR_RAW)


def open_raw(data: bytes, max_pixels: int, allowed: int, name: str) -> Raw:
    """The preview the camera made, or, where there is none worth it, the sensor's data at half size."""
    try:
        import rawpy
    except ImportError:
        raise ImageError(f"{name}: RAW needs an extra: pip install 'hashgrain[raw]'") from None
    try:
        with rawpy.imread(io.BytesIO(data)) as raw:
            sizes = raw.sizes
            check_pixels((sizes.raw_width, sizes.raw_height), max_pixels, name)
            size = (sizes.height, sizes.width) if sizes.flip in (5, 6) else (sizes.width, sizes.height)
            image = _preview(raw, rawpy, max_pixels, name, TURNS.get(sizes.flip, 1))
            if image is None:
                if 16 * sizes.raw_width * sizes.raw_height > allowed:
                    raise ImageError(f"{name}: takes more memory to decode than one picture may take here")
                image = Image.fromarray(raw.postprocess(half_size=True, use_camera_wb=True, output_bps=8))
    except rawpy.LibRawError as error:
        raise ImageError(f"{name}: the file is damaged ({error})") from None
    return Raw(image, size, _exif(data, image))


def _preview(raw: Any, rawpy: Any, max_pixels: int, name: str, orientation: int) -> Image.Image | None:
    try:
        preview = raw.extract_thumb()
    except rawpy.LibRawError:
        return None
    if preview.format == rawpy.ThumbFormat.JPEG:
        image: Image.Image = Image.open(io.BytesIO(preview.data), formats=["JPEG"])
    else:
        image = Image.fromarray(preview.data)
    if max(image.size) < LEAST_PREVIEW:
        return None
    check_pixels(image.size, max_pixels, name)
    image.getexif().setdefault(0x0112, orientation)
    return image


def _exif(data: bytes, image: Image.Image) -> Image.Exif:
    exif = Image.Exif()
    try:
        exif.load(b"Exif\0\0" + data)
    except Exception:  # not a TIFF: what the preview says
        return image.getexif()
    return exif if MAKE in exif else image.getexif()


def _first_page(data: bytes, order: str) -> dict[int, int]:
    """The tags of a TIFF's first page; of each its first value where that is a whole number, else 0."""
    (start,) = struct.unpack_from(order + "I", data, 4)
    tags: dict[int, int] = {}
    if start + 2 > len(data):
        return tags
    (count,) = struct.unpack_from(order + "H", data, start)
    for i in range(min(count, MAX_TAGS)):
        place = start + 2 + 12 * i
        if place + 12 > len(data):
            break
        tag, kind, _, value = struct.unpack_from(order + "HHII", data, place)
        short = struct.unpack_from(order + "H", data, place + 8)[0]
        tags[tag] = short if kind == 3 else value if kind == 4 else 0
    return tags


def _jxl_size(data: bytes, name: str) -> tuple[int, int]:
    """Width and height, from the first bits of the code stream."""
    stream = _jxl_stream(data) if data.startswith(JXL_CONTAINER) else data
    if not stream.startswith(JXL_CODESTREAM) or len(stream) < 12:
        raise ImageError(f"{name}: the file is damaged (no header)")
    bits, place = int.from_bytes(stream[2:16], "little"), 0

    def take(count: int) -> int:
        nonlocal place
        value = bits >> place & ((1 << count) - 1)
        place += count
        return value

    small = take(1)
    height = 8 * (take(5) + 1) if small else take(JXL_BITS[take(2)]) + 1
    ratio = take(3)
    if ratio:
        wide, high = JXL_RATIOS[ratio - 1]
        return height * wide // high, height
    return (8 * (take(5) + 1) if small else take(JXL_BITS[take(2)]) + 1), height


def _jxl_stream(data: bytes) -> bytes:
    """The beginning of the code stream in a container of boxes."""
    place = 0
    while place + 16 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, place)
        header = 8
        if size == 1:
            (size,), header = struct.unpack_from(">Q", data, place + 8), 16
        if kind in (b"jxlc", b"jxlp"):
            start = place + header + (4 if kind == b"jxlp" else 0)
            return data[start : start + 16]
        if size < header:
            break
        place += size
    return b""
