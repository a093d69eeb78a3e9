"""The memory that decoding a picture takes, estimated from its header, and its limit.

A JPEG is decoded at a fraction of its size, so it costs little however large it is; unless it comes in several scans,
as progressive ones do: then all its coefficients are in memory at once. Other formats are decoded whole.
"""

from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING

from hashgrain.errors import ImageError, ImageTooLargeError

if TYPE_CHECKING:
    from PIL import Image

DEFAULT_MAX_PIXELS = 400_000_000
LEAST_BUDGET = 2 << 30  # bytes for one picture, on a small machine too
BYTES_PER_PIXEL = 16  # at most, of any format: what a person allows by --max-pixels is allowed in memory
STORED = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16B": 2, "I;16L": 2, "I;16N": 2}  # a pixel in Pillow; 4 in others
DECODER = {"WEBP": 8, "AVIF": 12, "HEIF": 12, "JXL": 12, "TIFF": 4}  # a pixel in the library under Pillow
SINGLE_FRAMES = frozenset({0xC0, 0xC1, 0xC9})  # JPEG: sequential ones; the others come in several scans
FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
BARE_MARKERS = frozenset({0x01, *range(0xD0, 0xD9)})  # without a length
START_OF_SCAN = 0xDA


def budget(max_pixels: int = DEFAULT_MAX_PIXELS, workers: int = 1) -> int:
    """Bytes that decoding one picture may take: half the machine shared by the workers, or what a person allowed."""
    share = physical_memory() // (2 * max(1, workers))
    allowed = BYTES_PER_PIXEL * max_pixels if max_pixels > DEFAULT_MAX_PIXELS else 0
    return max(LEAST_BUDGET, min(share, BYTES_PER_PIXEL * DEFAULT_MAX_PIXELS), allowed)


def check_pixels(size: tuple[int, int], max_pixels: int, name: str) -> None:
    pixels = size[0] * size[1]
    if pixels < 1:
        raise ImageError(f"{name}: the picture has no pixels")
    if pixels > max_pixels:
        raise ImageTooLargeError(
            f"{name}: {size[0]} x {size[1]} is {pixels / 1e6:.0f} million pixels, more than the {max_pixels / 1e6:g}"
            " million allowed"
        )


def check_cost(image: Image.Image, header: bytes, allowed: int, name: str) -> None:
    """Refuse a picture that takes too much to decode. It has been drafted, if it can be, but not loaded."""
    needed = decoding_bytes(image, header)
    if needed > allowed:
        raise ImageTooLargeError(
            f"{name}: takes about {needed >> 20:,} MB of memory to decode, more than the {allowed >> 20:,} MB that one"
            " picture may take here"
        )


def decoding_bytes(image: Image.Image, header: bytes) -> int:
    stored: int = STORED.get(image.mode, 4)
    converted = 0 if image.mode == "RGB" else 4
    whole = image.width * image.height * (stored + converted + DECODER.get(image.format or "", 0))
    return int(whole) + (_coefficients(header) if image.format in ("JPEG", "MPO") else 0)


def _coefficients(jpeg: bytes) -> int:
    """Bytes of the coefficients that a JPEG of several scans holds: two for each sample; 0 for one of a single scan."""
    place, coefficients, components = 2, 0, 0
    while place + 10 < len(jpeg):
        marker = jpeg[place + 1]
        if jpeg[place] != 0xFF or marker == 0xFF:
            place += 1
            continue
        if marker in BARE_MARKERS:
            place += 2
            continue
        if marker == START_OF_SCAN:
            return coefficients if jpeg[place + 4] < components else 0
        if marker in FRAMES:
            height, width, components = struct.unpack(">HHB", jpeg[place + 5 : place + 10])
            samples = _samples(jpeg[place + 10 : place + 10 + 3 * components])
            coefficients = 2 * int(width) * int(height) * samples // 16
            if marker not in SINGLE_FRAMES:
                return coefficients
        place += 2 + int.from_bytes(jpeg[place + 2 : place + 4], "big")
    return coefficients


def _samples(components: bytes) -> int:
    """Sixteenths of a sample for each pixel, over all components."""
    factors = [(each >> 4, each & 15) for each in components[1::3]]
    most = max((h for h, _ in factors), default=1) * max((v for _, v in factors), default=1)
    return -(-16 * sum(h * v for h, v in factors) // max(1, most))


def physical_memory() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # Windows
        return 2 * LEAST_BUDGET
