"""JPEG XL and raw files of cameras: opened with their extras, refused with the command that installs them."""

from __future__ import annotations

import io
import struct
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from conftest import make_picture
from hashgrain.errors import ImageError
from hashgrain.media import DecodePool, Picture, open_picture, thumbnail
from hashgrain.media.extra_formats import is_raw
from hashgrain.sources import find

ASCII, SHORT, LONG, RATIONAL, BYTE, SRATIONAL = 2, 3, 4, 5, 1, 10
SIZES = {ASCII: 1, SHORT: 2, LONG: 4, RATIONAL: 8, BYTE: 1, SRATIONAL: 8}


def page(tags: dict[int, tuple[int, Sequence[Any]]], start: int) -> bytes:
    """A page of a TIFF that begins at `start`, with the values that do not fit into its tags behind it."""
    entries, behind = b"", b""
    after = start + 2 + 12 * len(tags) + 4
    for tag in sorted(tags):
        kind, values = tags[tag]
        if kind == ASCII or isinstance(values, bytes):
            packed = bytes(values)
        elif kind in (RATIONAL, SRATIONAL):
            packed = b"".join(struct.pack("<ii", round(value * 10_000), 10_000) for value in values)
        else:
            packed = b"".join(struct.pack("<H" if kind == SHORT else "<I", value) for value in values)
        count = len(packed) // SIZES[kind]
        if len(packed) <= 4:
            entries += struct.pack("<HHI", tag, kind, count) + packed.ljust(4, b"\0")
        else:
            entries += struct.pack("<HHII", tag, kind, count, after + len(behind))
            behind += packed + bytes(len(packed) % 2)
    return struct.pack("<H", len(tags)) + entries + bytes(4) + behind


def raw_file(size: tuple[int, int] = (640, 480), preview: bytes = b"", orientation: int = 1) -> bytes:
    """A DNG: sensor data in its first page, or in a page below one that holds a preview."""
    width, height = size
    sensor = (np.asarray(make_picture(3, size).convert("L")).astype("<u2") * 16).tobytes()
    camera = {
        271: (ASCII, b"Maker\0"),
        272: (ASCII, b"Model 1\0"),
        274: (SHORT, [orientation]),
        50706: (BYTE, bytes([1, 4, 0, 0])),
        50708: (ASCII, b"Maker Model 1\0"),
        50721: (SRATIONAL, [1, 0, 0, 0, 1, 0, 0, 0, 1]),
        50728: (RATIONAL, [1, 1, 1]),
    }
    pixels = {
        254: (LONG, [0]),
        256: (LONG, [width]),
        257: (LONG, [height]),
        258: (SHORT, [16]),
        259: (SHORT, [1]),
        262: (SHORT, [32803]),
        273: (LONG, [8]),
        277: (SHORT, [1]),
        278: (LONG, [height]),
        279: (LONG, [len(sensor)]),
        33421: (SHORT, [2, 2]),
        33422: (BYTE, bytes([0, 1, 1, 2])),
        50717: (LONG, [4095]),
    }
    first = 8 + len(sensor) + len(preview)
    if not preview:
        return struct.pack("<2sHI", b"II", 42, first) + sensor + page({**camera, **pixels}, first)
    shown = Image.open(io.BytesIO(preview)).size
    front: dict[int, Any] = {
        **camera,
        254: (LONG, [1]),
        256: (LONG, [shown[0]]),
        257: (LONG, [shown[1]]),
        258: (SHORT, [8, 8, 8]),
        259: (SHORT, [7]),
        262: (SHORT, [6]),
        273: (LONG, [8 + len(sensor)]),
        277: (SHORT, [3]),
        278: (LONG, [shown[1]]),
        279: (LONG, [len(preview)]),
        330: (LONG, [0]),
    }
    inner = first + len(page(front, first))
    front[330] = (LONG, [inner])
    return struct.pack("<2sHI", b"II", 42, first) + sensor + preview + page(front, first) + page(pixels, inner)


def jpeg(size: tuple[int, int]) -> bytes:
    file = io.BytesIO()
    make_picture(9, size).save(file, "jpeg", quality=95)
    return file.getvalue()


def test_raw_files_are_told_from_tiffs() -> None:
    assert is_raw(raw_file())
    assert is_raw(raw_file(preview=jpeg((640, 480))))
    assert is_raw(b"FUJIFILMCCD-RAW 0201")
    tiff = io.BytesIO()
    make_picture(1).save(tiff, "tiff")
    assert not is_raw(tiff.getvalue())
    for broken in (b"II*\0", b"II*\0\xff\xff\xff\xff", b"MM\0*\0\0\0\x08\xff\xff" + bytes(40)):
        assert not is_raw(broken)


@pytest.mark.parametrize(
    ("module", "extra", "content"),
    [
        ("rawpy", "raw", raw_file((64, 48))),
        ("pillow_jxl", "jxl", b"\xff\x0a" + bytes(40)),
        ("pillow_jxl", "jxl", b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(40)),
    ],
)
def test_without_its_extra_a_format_says_how_to_get_it(
    module: str, extra: str, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImageError, match=rf"pip install 'hashgrain\[{extra}\]'"):
        open_picture(content)


def test_raw_and_jpeg_xl_in_a_folder_are_pictures(tmp_path: Path) -> None:
    suffixes = ["cr2", "nef", "arw", "dng", "orf", "rw2", "raf", "jxl"]
    for suffix in suffixes:
        (tmp_path / f"a.{suffix.upper()}").write_bytes(b"x")
    (tmp_path / "DSC_0001").write_bytes(raw_file((64, 48)))
    assert len(list(find(tmp_path))) == len(suffixes) + 1


def test_a_raw_file_shows_its_preview() -> None:
    pytest.importorskip("rawpy", reason="needs the extra raw")
    opened = open_picture(raw_file(preview=jpeg((640, 480))))
    assert (opened.facts.format, opened.facts.width, opened.facts.height) == ("raw", 640, 480)
    assert opened.facts.details == {"camera": "Maker Model 1"}
    assert np.abs(opened.pixels.astype(int) - np.asarray(make_picture(9, (640, 480)))).mean() < 4


@pytest.mark.parametrize("preview", [b"", jpeg((160, 120))], ids=["none", "a stamp"])
def test_a_raw_file_without_a_preview_worth_it_is_developed(preview: bytes) -> None:
    pytest.importorskip("rawpy", reason="needs the extra raw")
    opened = open_picture(raw_file(preview=preview))
    assert (opened.facts.format, opened.facts.width, opened.facts.height) == ("raw", 640, 480)
    assert opened.pixels.shape == (240, 320, 3)
    wanted, got = (
        np.asarray(image.convert("L").resize((32, 24))).ravel()
        for image in (make_picture(3, (640, 480)), Image.fromarray(opened.pixels))
    )
    assert np.corrcoef(wanted, got)[0, 1] > 0.9


def test_a_turned_raw_file_is_seen_upright() -> None:
    pytest.importorskip("rawpy", reason="needs the extra raw")
    for preview in (jpeg((640, 480)), b""):
        opened = open_picture(raw_file(preview=preview, orientation=6), size=(30, 40))
        assert (opened.facts.width, opened.facts.height) == (480, 640)
        upright = make_picture(9 if preview else 3, (640, 480)).transpose(Image.Transpose.ROTATE_270).resize((30, 40))
        wanted, got = np.asarray(upright.convert("L")).ravel(), np.asarray(Image.fromarray(opened.pixels).convert("L"))
        assert np.corrcoef(wanted, got.ravel())[0, 1] > 0.9


def test_raw_files_go_through_the_workers_and_damaged_ones_are_lost_alone() -> None:
    pytest.importorskip("rawpy", reason="needs the extra raw")
    whole = raw_file(preview=jpeg((640, 480)))
    dice = np.random.default_rng(2)
    items = [(0, whole)]
    for number in range(1, 40):
        broken = bytearray(whole)
        for place in dice.integers(len(whole) - 700, len(whole), 4):
            broken[place] = dice.integers(256)
        items.append((number, bytes(broken[: len(whole) - 300] if number % 5 == 0 else broken)))
    with DecodePool((16, 16), workers=1) as pool:
        results = [result for _, result in pool.decode([*items, (99, whole)])]
    assert isinstance(results[0], Picture)
    assert isinstance(results[-1], Picture)


def jxl(size: tuple[int, int] = (120, 90), **options: Any) -> bytes:
    pytest.importorskip("pillow_jxl", reason="needs the extra jxl")
    file = io.BytesIO()
    make_picture(3, size).save(file, "JXL", **options)
    return file.getvalue()


@pytest.mark.parametrize("options", [{}, {"use_container": True}, {"lossless": True}])
def test_jpeg_xl_opens_with_its_extra(options: dict[str, Any]) -> None:
    content = jxl(**options)
    opened = open_picture(content)
    assert (opened.facts.format, opened.facts.width, opened.facts.height) == ("jxl", 120, 90)
    assert np.abs(opened.pixels.astype(int) - np.asarray(make_picture(3))).mean() < 10
    assert Image.open(io.BytesIO(thumbnail(content, edge=60))).size == (60, 45)
    with DecodePool((16, 16), workers=1) as pool:
        ((_, picture),) = pool.decode([(0, content)])
    assert isinstance(picture, Picture), picture


@pytest.mark.parametrize("size", [(8, 8), (256, 256), (300, 200), (1000, 10), (7, 2000), (1920, 1080)])
def test_the_size_of_a_jpeg_xl_is_told_before_it_is_decoded(size: tuple[int, int]) -> None:
    for options in ({}, {"use_container": True}):
        content = jxl(size, effort=1, **options)
        with pytest.raises(ImageError, match=rf"{size[0]} x {size[1]} is .* more than"):
            open_picture(content, max_pixels=size[0] * size[1] - 1)


def test_a_damaged_jpeg_xl_is_refused() -> None:
    content = jxl()
    for broken in (content[: len(content) // 2], content[:20], content[:2], content[:14] + bytes(40)):
        with pytest.raises(ImageError):
            open_picture(broken)
