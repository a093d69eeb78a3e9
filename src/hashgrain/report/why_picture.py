"""Why a picture was found, as a picture: query and hit side by side with heat maps, and bars of the bits that agree.

Drawn with the font that Pillow brings, which has ASCII letters alone: others lose their accents, or become "?".
"""

from __future__ import annotations

import io
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from hashgrain.types import Box

WIDTH, MARGIN, GAP = 1600, 32, 24
MOST_HEIGHT = 760  # of the pictures
TITLE, TEXT, SMALL = 34, 24, 20  # sizes of letters, in pixels
PAPER, INK, SOFT, LINE = (255, 255, 255), (29, 28, 26), (95, 92, 87), (226, 222, 214)
BAR, BOX = (31, 90, 166), (255, 106, 0)
# From low to high, even in lightness, and told apart by the color blind as well: stops of viridis.
RAMP = np.array([(68, 1, 84), (59, 82, 139), (33, 145, 140), (94, 201, 98), (253, 231, 37)], np.float32)
OUTLINE = 7  # pixels
OPACITY = 0.25, 0.65  # of the lowest heat, and of the highest

Floats = NDArray[np.float32]
Pixels = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Heat:
    """A grid of numbers over a picture, or over a box of it, and the two that have the first and the last color."""

    values: Floats  # (rows, columns)
    low: float
    high: float
    low_text: str
    high_text: str
    box: Box | None = None

    @property
    def shades(self) -> Floats:
        """The values from 0 to 1."""
        span = self.high - self.low
        scaled = (self.values - self.low) / span if span > 0 else np.zeros_like(self.values)
        return np.asarray(np.clip(scaled, 0, 1), np.float32)


@dataclass(frozen=True, eq=False)
class Panel:
    """One picture, upright, with what is drawn on it and written under it."""

    title: str
    picture: Pixels
    heat: Heat | None
    lines: Sequence[str] = ()
    outlined: Box | None = None


@dataclass(frozen=True)
class GrainBits:
    """How many of the bits of a grain agree."""

    grain: str
    agreeing: int
    bits: int


def draw_why(panels: Sequence[Panel], grains: Sequence[GrainBits], title: str, notes: Sequence[str] = ()) -> bytes:
    """The whole picture, as PNG."""
    width = (WIDTH - 2 * MARGIN - GAP * (len(panels) - 1)) // len(panels)
    shown = [_sized(panel, width) for panel in panels]
    top = MARGIN + TITLE + GAP
    pictures_end = top + TEXT + 12 + max(image.height for image in shown)
    lines = max(len(panel.lines) for panel in panels)
    bars = pictures_end + 12 + (SMALL + 10) + lines * (SMALL + 8) + GAP
    height = bars + len(grains) * (TEXT + 20) + len(notes) * (SMALL + 8) + MARGIN
    page = Image.new("RGB", (WIDTH, height), PAPER)
    draw = ImageDraw.Draw(page)
    _write(draw, (MARGIN, MARGIN), title, TITLE, INK, WIDTH - 2 * MARGIN)
    for place, (panel, image) in enumerate(zip(panels, shown, strict=True)):
        left = MARGIN + place * (width + GAP)
        _write(draw, (left, top), panel.title, TEXT, INK, width)
        page.paste(image, (left, top + TEXT + 12))
        _under(page, panel, (left, pictures_end + 12), width)
    for place, grain in enumerate(grains):
        _bar(draw, grain, bars + place * (TEXT + 20))
    for place, note in enumerate(notes):
        at = bars + len(grains) * (TEXT + 20) + place * (SMALL + 8)
        _write(draw, (MARGIN, at), note, SMALL, SOFT, WIDTH - 2 * MARGIN)
    file = io.BytesIO()
    page.save(file, "png", optimize=True)
    return file.getvalue()


def heated(picture: Image.Image, heat: Heat) -> Image.Image:
    """A picture with the colors of a heat map over it."""
    left, top, right, bottom = _pixels_of(heat.box or (0, 0, 1, 1), picture)
    part = picture.crop((left, top, right, bottom))
    grid = Image.fromarray(heat.shades).resize(part.size, Image.Resampling.BICUBIC)
    shades = np.clip(np.asarray(grid, np.float32), 0, 1)[:, :, None]
    place = shades[:, :, 0] * (len(RAMP) - 1)
    colors = np.stack([np.interp(place, np.arange(len(RAMP)), RAMP[:, color]) for color in range(3)], axis=2)
    opacity = OPACITY[0] + (OPACITY[1] - OPACITY[0]) * shades
    mixed = np.asarray(part, np.float32) * (1 - opacity) + colors * opacity
    result = picture.copy()
    result.paste(Image.fromarray(mixed.astype(np.uint8)), (left, top))
    return result


def _sized(panel: Panel, width: int) -> Image.Image:
    picture = Image.fromarray(panel.picture)
    scale = min(width / picture.width, MOST_HEIGHT / picture.height)
    size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
    image = picture.resize(size, Image.Resampling.LANCZOS)
    if panel.heat is not None:
        image = heated(image, panel.heat)
    if panel.outlined is not None:
        _outline(ImageDraw.Draw(image), _pixels_of(panel.outlined, image))
    return image


def _outline(draw: ImageDraw.ImageDraw, box: tuple[int, int, int, int]) -> None:
    """A line of its own color between two of paper, to be seen on any picture."""
    left, top, right, bottom = box
    for inset in range(OUTLINE):
        color = BOX if 0 < inset < OUTLINE - 1 else PAPER
        edges = left + inset, top + inset, right - 1 - inset, bottom - 1 - inset
        if edges[0] <= edges[2] and edges[1] <= edges[3]:
            draw.rectangle(edges, outline=color)


def _under(page: Image.Image, panel: Panel, at: tuple[int, int], width: int) -> None:
    """The scale of the heat map, and the lines of text."""
    draw = ImageDraw.Draw(page)
    left, top = at
    if panel.heat is not None:
        low, high = panel.heat.low_text, panel.heat.high_text
        start = left + _length(low, SMALL) + 10
        end = min(start + width // 3, left + width - _length(high, SMALL) - 10)
        _write(draw, (left, top), low, SMALL, SOFT, width)
        _write(draw, (end + 10, top), high, SMALL, SOFT, width)
        place = np.linspace(0, len(RAMP) - 1, max(1, end - start))
        colors = np.stack([np.interp(place, np.arange(len(RAMP)), RAMP[:, color]) for color in range(3)], axis=1)
        page.paste(Image.fromarray(np.tile(colors.astype(np.uint8), (SMALL, 1, 1))), (start, top + 2))
    for number, line in enumerate(panel.lines):
        _write(draw, (left, top + (SMALL + 10) + number * (SMALL + 8)), line, SMALL, INK, width)


def _bar(draw: ImageDraw.ImageDraw, grain: GrainBits, top: int) -> None:
    left, right = MARGIN + 220, WIDTH - MARGIN - 340
    full = left + round((right - left) * grain.agreeing / grain.bits)
    _write(draw, (MARGIN, top + 3), grain.grain, TEXT, INK, 210)
    draw.rectangle((left, top, right, top + TEXT + 8), fill=LINE)
    if full > left:
        draw.rectangle((left, top, full, top + TEXT + 8), fill=BAR)
    _write(draw, (right + 16, top + 3), f"{grain.agreeing}/{grain.bits} bits agree", TEXT, INK, 320)


def _pixels_of(box: Box, image: Image.Image) -> tuple[int, int, int, int]:
    left, right = round(box[0] * image.width), round(box[2] * image.width)
    top, bottom = round(box[1] * image.height), round(box[3] * image.height)
    return left, top, max(left + 1, right), max(top + 1, bottom)


def _write(
    draw: ImageDraw.ImageDraw, at: tuple[int, int], text: str, size: int, color: tuple[int, int, int], width: int
) -> None:
    draw.text(at, fitting(text, size, width), fill=color, font=_font(size))


def fitting(text: str, size: int, width: int) -> str:
    """The text in letters that the font has, without its middle where it is wider than so many pixels."""
    plain = unicodedata.normalize("NFKD", text)
    plain = "".join(each if " " <= each <= "~" else "?" for each in plain if not unicodedata.combining(each))
    if _length(plain, size) <= width:
        return plain
    for kept in range(len(plain) - 3, 1, -1):
        shortened = f"{plain[: (kept + 1) // 2]}...{plain[-(kept // 2) :]}"
        if _length(shortened, size) <= width:
            return shortened
    return plain[:1]


def _length(text: str, size: int) -> int:
    return round(_font(size).getlength(text))


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    return cast("ImageFont.FreeTypeFont", ImageFont.load_default(size))  # with a size, it always is one
