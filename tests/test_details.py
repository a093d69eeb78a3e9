"""What a photograph says of itself is read where it makes sense, and nonsense gives nothing."""

from __future__ import annotations

import io
import struct
import time
from typing import Any

import numpy as np
import pytest
from PIL import Image
from PIL.TiffImagePlugin import IFDRational

from conftest import make_picture
from hashgrain.media import DecodePool, Picture, open_picture

NAMESPACES = (
    'xmlns:x="adobe:ns:meta/" xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"'
    ' xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmlns:dc="http://purl.org/dc/elements/1.1/"'
)


def exif(**fields: Any) -> Image.Exif:
    """EXIF of ordinary fields by their number in hexadecimal: x010f is the maker."""
    made = Image.Exif()
    for name, value in fields.items():
        block, number = name[0], int(name[1:], 16)
        if block == "x":
            made[number] = value
        else:
            made.get_ifd(0x8769 if block == "e" else 0x8825)[number] = value
    return made


def saved(kind: str = "jpeg", **options: Any) -> bytes:
    file = io.BytesIO()
    make_picture(1).save(file, kind, **options)
    return file.getvalue()


def details(kind: str = "jpeg", **options: Any) -> dict[str, Any]:
    return dict(open_picture(saved(kind, **options)).facts.details)


def xmp(inside: str, attributes: str = "") -> bytes:
    described = f"<rdf:Description {attributes}>{inside}</rdf:Description>"
    return f"<x:xmpmeta {NAMESPACES}><rdf:RDF>{described}</rdf:RDF></x:xmpmeta>".encode()


def subject(*words: str) -> str:
    return f"<dc:subject><rdf:Bag>{''.join(f'<rdf:li>{word}</rdf:li>' for word in words)}</rdf:Bag></dc:subject>"


def iptc(*words: bytes) -> bytes:
    """The segment Photoshop writes into a JPEG."""
    record = b"".join(b"\x1c\x02\x19" + struct.pack(">H", len(word)) + word for word in words)
    resource = b"8BIM\x04\x04\0\0" + struct.pack(">I", len(record)) + record + bytes(len(record) % 2)
    content = b"Photoshop 3.0\0" + resource
    segment = b"\xff\xed" + struct.pack(">H", len(content) + 2) + content
    plain = saved()
    return plain[:2] + segment + plain[2:]


FULL = exif(
    x010f="NIKON CORPORATION",
    x0110="NIKON D750",
    x4746=4,
    e8827=(400, 0),
    e920a=IFDRational(501, 10),
    ea434="NIKKOR 50mm f/1.4",
    g0001="S",
    g0002=(IFDRational(33), IFDRational(51), IFDRational(3599, 100)),
    g0003="W",
    g0004=(IFDRational(70), IFDRational(30), IFDRational(0)),
)


@pytest.mark.parametrize("kind", ["jpeg", "png", "webp", "avif"])
def test_camera_lens_exposure_place_and_rating_are_facts_of_a_photograph(kind: str) -> None:
    read = details(kind, exif=FULL)
    assert read == {
        "camera": "NIKON D750",
        "lens": "NIKKOR 50mm f/1.4",
        "iso": 400,
        "focal_length": 50.1,
        "latitude": pytest.approx(-33.8599972, abs=1e-6),
        "longitude": -70.5,
        "rating": 4,
    }


@pytest.mark.parametrize(
    ("maker", "model", "camera"),
    [("Canon", "Canon EOS R5", "Canon EOS R5"), ("SONY", "ILCE-7M4", "SONY ILCE-7M4"), ("", "X100V", "X100V")],
)
def test_a_camera_is_named_once(maker: str, model: str, camera: str) -> None:
    assert details(exif=exif(x010f=maker, x0110=model)) == {"camera": camera}


@pytest.mark.parametrize("kind", ["jpeg", "png", "webp", "tiff"])
def test_rating_and_keywords_come_from_xmp(kind: str) -> None:
    packet = xmp(subject("sea", "Göteborg", "sea"), 'xmp:Rating="3"')
    options: dict[str, Any] = {"xmp": packet} if kind in ("jpeg", "webp") else {}
    if kind == "png":
        from PIL.PngImagePlugin import PngInfo

        options["pnginfo"] = PngInfo()
        options["pnginfo"].add_itxt("XML:com.adobe.xmp", packet.decode())
    if kind == "tiff":
        options["tiffinfo"] = {700: packet}
    assert details(kind, **options) == {"rating": 3, "keywords": ["sea", "Göteborg"]}


def test_xmp_counts_before_exif_and_a_rejected_picture_has_no_rating() -> None:
    assert details(xmp=xmp("<xmp:Rating>5</xmp:Rating>"), exif=exif(x4746=2)) == {"rating": 5}
    assert details(xmp=xmp("", 'xmp:Rating="-1"')) == {}


def test_keywords_come_from_iptc_in_any_of_its_encodings() -> None:
    content = iptc("mañana".encode(), "Köln".encode("latin-1"), b"", b"sea\0\x1b[31m")
    assert open_picture(content).facts.details == {"keywords": ["mañana", "Köln", "sea"]}


def test_keywords_are_so_many_and_so_long_and_no_more() -> None:
    read = details(xmp=xmp(subject(*(f"{i}{'x' * 300}" for i in range(100)))))["keywords"]
    assert len(read) == 64
    assert all(len(word) == 200 for word in read)


@pytest.mark.parametrize(
    "fields",
    [
        {"e920a": IFDRational(5, 0)},
        {"e920a": IFDRational(0, 0)},
        {"e920a": IFDRational(0, 1)},
        {"e8827": 0},
        {"e8827": ()},
        {"x4746": 99},
        {"x010f": "\x01\x02"},
        {"g0001": "N", "g0002": (IFDRational(1, 0),) * 3, "g0003": "E", "g0004": (IFDRational(1),) * 3},
        {"g0001": "N", "g0002": (IFDRational(91),) * 3, "g0003": "E", "g0004": (IFDRational(1),) * 3},
        {"g0001": "N", "g0002": (IFDRational(9),) * 3},
        {"g0001": "N", "g0002": (IFDRational(9),) * 2, "g0003": "E", "g0004": (IFDRational(1),) * 3},
    ],
)
def test_values_that_make_no_sense_give_nothing(fields: dict[str, Any]) -> None:
    assert details(exif=exif(**fields)) == {}


@pytest.mark.parametrize(
    "packet",
    [
        b'<!DOCTYPE a [<!ENTITY l "lol">]>' + xmp(subject("&l;")),
        xmp(subject("never closed"))[:-20],
        "<?xml version='1.0' encoding='utf-16'?>".encode("utf-16") + xmp(subject("x")),
        xmp("<a>" * 20_000 + subject("deep") + "</a>" * 20_000),
        xmp("<dc:subject>" * 8_000 + "</dc:subject>" * 8_000),
        b"<!--" * 60_000 + b"Rating",
        xmp(subject("x" * 300_000)),
    ],
    ids=["entities", "cut", "utf-16", "deep", "nested", "comments", "large"],
)
def test_hostile_xmp_costs_nothing_and_the_picture_opens(packet: bytes) -> None:
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    info.add_itxt("XML:com.adobe.xmp", packet.decode("latin-1"), zip=True)
    content = saved("png", pnginfo=info)
    started = time.monotonic()
    read = open_picture(content).facts.details
    assert time.monotonic() - started < 2
    assert read.get("keywords") in (None, ["deep"])


def test_details_come_through_the_workers() -> None:
    content = saved(exif=FULL)
    with DecodePool((16, 16), workers=1) as pool:
        ((_, picture),) = pool.decode([(0, content)])
    assert isinstance(picture, Picture)
    assert picture.facts == open_picture(content).facts
    assert picture.facts.details["camera"] == "NIKON D750"


def test_damaged_notes_leave_a_picture_whole() -> None:
    dice = np.random.default_rng(5)
    content = bytearray(saved(exif=FULL, xmp=xmp(subject("sea"), 'xmp:Rating="3"')))
    end = content.index(b"\xff\xdb")
    for _ in range(300):
        broken = bytearray(content)
        for place in dice.integers(30, end, 3):
            broken[place] = dice.integers(256)
        try:
            read = open_picture(bytes(broken), size=(8, 8)).facts.details
        except Exception as error:
            assert type(error).__name__ == "ImageError"
            continue
        assert set(read) <= {*["camera", "lens", "iso", "focal_length", "latitude", "longitude", "rating", "keywords"]}
