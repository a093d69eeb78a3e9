"""Pictures are capped by what decoding them costs, and never decoded in full for a small picture of them."""

from __future__ import annotations

import io
import random
from typing import Any

import pytest
from PIL import Image

from conftest import make_picture
from hashgrain.errors import ImageError
from hashgrain.media import DEFAULT_MAX_PIXELS, DecodePool, Picture, cost, open_picture, thumbnail

SIZE = (2_000, 1_500)
MEGABYTE = 1 << 20


def saved(kind: str, image: Image.Image | None = None, **options: Any) -> bytes:
    file = io.BytesIO()
    (image or make_picture(1, SIZE)).save(file, kind, **options)
    return file.getvalue()


def reckoned(content: bytes) -> float:
    image = Image.open(io.BytesIO(content))
    image.draft("RGB", (32, 32))
    return cost.decoding_bytes(image, content) / (SIZE[0] * SIZE[1])


def test_a_jpeg_of_150_million_pixels_is_opened_by_default_and_costs_little() -> None:
    content = saved("jpeg", Image.new("L", (15_000, 10_000), 90), quality=10)
    assert DEFAULT_MAX_PIXELS == 400_000_000
    assert open_picture(content, size=(16, 16), memory=30 * MEGABYTE).facts.width == 15_000
    assert Image.open(io.BytesIO(thumbnail(content, edge=64))).size == (64, 43)
    with DecodePool((16, 16), workers=1) as pool:
        ((_, picture),) = pool.decode([(0, content)])
    assert isinstance(picture, Picture)
    with pytest.raises(ImageError, match="more than the 100 million allowed"):
        open_picture(content, max_pixels=100_000_000)


@pytest.mark.parametrize(
    ("content", "least", "most"),
    [
        (saved("jpeg"), 0.05, 0.1),  # an eighth of it in both directions
        (saved("jpeg", progressive=True), 3.0, 3.2),  # two bytes for each of one and a half samples
        (saved("jpeg", progressive=True, subsampling=0), 6.0, 6.2),
        (saved("jpeg", make_picture(1, SIZE).convert("L"), progressive=True), 2.0, 2.2),
        (saved("png"), 4.0, 4.0),
        (saved("png", make_picture(1, SIZE).convert("L")), 5.0, 5.0),
        (saved("png", make_picture(1, SIZE).convert("RGBA")), 8.0, 8.0),
        (saved("webp"), 12.0, 12.0),
    ],
    ids=["jpeg", "progressive", "progressive 4:4:4", "progressive gray", "png", "gray", "transparent", "webp"],
)
def test_what_a_pixel_costs_is_told_from_the_header(content: bytes, least: float, most: float) -> None:
    assert least <= reckoned(content) <= most
    needed = int(reckoned(content) * SIZE[0] * SIZE[1])
    assert open_picture(content, size=(16, 16), memory=needed + 1000).facts.width == SIZE[0]
    with pytest.raises(ImageError, match="MB of memory to decode"):
        open_picture(content, size=(16, 16), memory=needed - 1000)


def test_the_budget_follows_the_machine_and_the_person(monkeypatch: pytest.MonkeyPatch) -> None:
    gigabyte = 1 << 30
    monkeypatch.setattr(cost, "physical_memory", lambda: 16 * gigabyte)
    assert cost.budget(workers=2) == 4 * gigabyte
    assert cost.budget(workers=32) == cost.LEAST_BUDGET
    assert cost.budget(10**9, workers=32) == 16 * 10**9  # allowed by name
    monkeypatch.setattr(cost, "physical_memory", lambda: 1024 * gigabyte)
    assert cost.budget() == 16 * DEFAULT_MAX_PIXELS


def test_headers_made_to_be_wrong_are_reckoned_without_trouble() -> None:
    dice = random.Random(6)
    content = saved("jpeg", make_picture(1, (64, 48)), progressive=True)
    for _ in range(2_000):
        broken = bytearray(content[: dice.randrange(4, 700)])
        for _ in range(4):
            broken[dice.randrange(len(broken))] = dice.choice((0, 1, 255, dice.randrange(256)))
        assert cost._coefficients(bytes(broken)) >= 0


def test_pictures_of_odd_kinds_look_the_same_converted_in_bands(monkeypatch: pytest.MonkeyPatch) -> None:
    palette = make_picture(1).quantize(16)
    kinds = {
        "I;16": make_picture(1).convert("L").convert("I").convert("I;16"),
        "F": make_picture(1).convert("F"),
        "RGBA": Image.merge("RGBA", (*make_picture(1).split(), make_picture(2).convert("L"))),
        "CMYK": make_picture(1).convert("CMYK"),
        "P": palette,
    }
    whole = {kind: open_picture(image).pixels.tobytes() for kind, image in kinds.items()}
    monkeypatch.setattr("hashgrain.media.image.BAND", 500)
    for kind, image in kinds.items():
        assert open_picture(image).pixels.tobytes() == whole[kind], kind
    palette.info["transparency"] = 3
    banded = open_picture(palette).pixels.tobytes()
    monkeypatch.undo()
    assert open_picture(palette).pixels.tobytes() == banded
