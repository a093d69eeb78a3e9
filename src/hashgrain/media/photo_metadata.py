"""The metadata of a photograph: camera, lens, exposure, place, rating and keywords, from EXIF, XMP and IPTC.

None of it is trusted: values that are out of range, damaged or endless are left out.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, TypeVar

from PIL import Image

T = TypeVar("T")
MAX_TEXT = 200  # characters
MAX_KEYWORDS = 64
MAX_XMP = 256 << 10  # bytes
MAX_IPTC = 256 << 10
MAKE, MODEL, RATING = 271, 272, 0x4746
EXIF_IFD, GPS_IFD = 0x8769, 0x8825
ISO, FOCAL_LENGTH, LENS_MAKE, LENS_MODEL = 0x8827, 0x920A, 0xA433, 0xA434
XMP_TAG, IPTC_RESOURCE = 700, 0x0404
IPTC_KEYWORD = b"\x1c\x02\x19"
RDF, DC = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}", "{http://purl.org/dc/elements/1.1/}"
XMP_RATING = "{http://ns.adobe.com/xap/1.0/}Rating"


def details_of(image: Image.Image, exif: Image.Exif, hostile: tuple[type[BaseException], ...]) -> dict[str, Any]:
    """The details that the picture has. `hostile` is what Pillow raises for damaged ones."""
    if not exif and not any(key in image.info for key in ("xmp", "photoshop")):  # most small pictures
        return {}

    def tried(read: Callable[[], T | None]) -> T | None:
        try:
            return read()
        except hostile:
            return None

    inner: dict[int, Any] = tried(lambda: exif.get_ifd(EXIF_IFD)) or {}
    place: dict[int, Any] = (tried(lambda: exif.get_ifd(GPS_IFD)) or {}) if GPS_IFD in exif else {}
    rating, keywords = tried(lambda: _xmp(image, exif)) or (None, [])
    keywords += tried(lambda: list(_iptc_keywords(image))) or []
    latitude, longitude = tried(lambda: _degrees(place, 1, b"S", 90)), tried(lambda: _degrees(place, 3, b"W", 180))
    details = {
        "camera": tried(lambda: _joined(exif.get(MAKE), exif.get(MODEL))),
        "lens": tried(lambda: _joined(inner.get(LENS_MAKE), inner.get(LENS_MODEL)) if LENS_MODEL in inner else None),
        "iso": tried(lambda: _whole(inner.get(ISO), 1, 100_000_000)),
        "focal_length": tried(lambda: _length(inner.get(FOCAL_LENGTH))),
        "latitude": latitude if longitude is not None else None,
        "longitude": longitude if latitude is not None else None,
        "rating": rating if rating is not None else tried(lambda: _whole(exif.get(RATING), 0, 5)),
        "keywords": list(dict.fromkeys(keywords))[:MAX_KEYWORDS] or None,
    }
    return {key: value for key, value in details.items() if value is not None}


def _text(value: Any) -> str | None:
    """Readable text on one line."""
    if isinstance(value, bytes):
        value = value[: 4 * MAX_TEXT].decode("utf-8", "replace")
    if not isinstance(value, str):
        return None
    plain = value[: 4 * MAX_TEXT].encode("utf-8", "replace").decode().partition("\0")[0]
    return " ".join("".join(c if c.isprintable() else " " for c in plain).split())[:MAX_TEXT].strip() or None


def _joined(maker: Any, model: Any) -> str | None:
    """Maker and model, the maker once: "NIKON CORPORATION" and "NIKON D750" are "NIKON D750"."""
    first, second = _text(maker), _text(model)
    if not first or not second:
        return first or second
    if second.lower().startswith(first.lower().split()[0]):
        return second
    return f"{first} {second}"[:MAX_TEXT]


def _number(value: Any) -> float | None:
    number = float(value)
    return number if math.isfinite(number) else None


def _whole(value: Any, least: int, most: int) -> int | None:
    value = value[0] if isinstance(value, tuple) and value else value
    number = None if value is None else _number(value)
    return int(number) if number is not None and least <= number <= most and number == int(number) else None


def _length(value: Any) -> float | None:
    number = None if value is None else _number(value)
    return round(number, 2) if number is not None and 0 < number < 100_000 else None


def _degrees(place: dict[int, Any], key: int, negative: bytes, most: int) -> float | None:
    """Degrees, minutes and seconds, and the half of the world they are in."""
    half, parts = place.get(key), place.get(key + 1)
    if half is None or not isinstance(parts, tuple) or len(parts) != 3:
        return None
    degrees, minutes, seconds = (_number(part) for part in parts)
    if degrees is None or minutes is None or seconds is None or min(degrees, minutes, seconds) < 0:
        return None
    value = degrees + minutes / 60 + seconds / 3600
    half = half if isinstance(half, bytes) else str(half).encode()
    return round(-value if half[:1].upper() == negative else value, 7) if value <= most else None


def _xmp(image: Image.Image, exif: Image.Exif) -> tuple[int | None, list[str]]:
    """(rating, keywords) of an XMP packet. Entities are never expanded: a packet that declares any is left alone."""
    packet = image.info.get("xmp") or exif.get(XMP_TAG) or b""
    packet = packet if isinstance(packet, bytes) else str(packet).encode()
    if len(packet) > MAX_XMP or not (b"Rating" in packet or b"subject" in packet):
        return None, []
    text = packet.decode("utf-8").strip("\0 \n\r\t\ufeff")
    if "<!DOCTYPE" in text or "<!ENTITY" in text:  # decoded, so no encoding hides it
        return None, []
    from xml.etree import ElementTree  # few pictures have a packet worth reading

    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError:
        return None, []
    described = (node.attrib[XMP_RATING] for node in root.iter(RDF + "Description") if XMP_RATING in node.attrib)
    rating = next(described, None) or root.findtext(f".//{XMP_RATING}")
    subject = next(root.iter(DC + "subject"), None)
    words = [] if subject is None else [_text(item.text) for item in islice(subject.iter(RDF + "li"), MAX_KEYWORDS)]
    keywords = [word for word in words if word]
    return (_whole(rating, 0, 5) if rating and re.fullmatch(r"\s*\d(\.0*)?\s*", rating) else None), keywords


def _iptc_keywords(image: Image.Image) -> Iterator[str]:
    """Data set 2:25 of the IPTC record that Photoshop and others put into a JPEG."""
    resources = image.info.get("photoshop")
    record = resources.get(IPTC_RESOURCE, b"") if isinstance(resources, dict) else b""
    place = 0
    while isinstance(record, bytes) and place + 5 <= min(len(record), MAX_IPTC) and record[place] == 0x1C:
        length = int.from_bytes(record[place + 3 : place + 5], "big")
        if length & 0x8000:  # a length of a length: nothing that is a keyword
            return
        value = record[place + 5 : place + 5 + length]
        if record[place : place + 3] == IPTC_KEYWORD and (word := _text(_decoded(value))):
            yield word
        place += 5 + length


def _decoded(value: bytes) -> str:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value.decode("latin-1")
