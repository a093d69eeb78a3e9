"""A picture that nobody vouches for, decoded once by a worker: what it is, and a JPEG of it to show."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hashgrain.media import DecodePool
from hashgrain.media.formats import looks_like_a_picture
from hashgrain.media.thumbnails import jpeg_of

if TYPE_CHECKING:
    from hashgrain.library.library import Library

START = 64  # bytes by which a format is known


@dataclass(frozen=True)
class Preview:
    """The facts of a picture, and a JPEG of it, upright and without metadata."""

    width: int | None
    height: int | None
    format: str
    jpeg: bytes


def is_picture(data: bytes) -> bool:
    """Whether these bytes begin like a picture of a format that is read here."""
    return looks_like_a_picture(data[:START])


def workers_of(library: Library) -> DecodePool:
    """The workers that decode for a library, which end with it."""
    return library._query_encoder.pool


def preview_of(library: Library, data: bytes, *, edge: int, max_pixels: int) -> Preview:
    """Decode a picture in the workers of a library. Raises ImageError if it cannot be used."""
    picture = workers_of(library).shrunk(data, edge=edge, max_pixels=max_pixels)
    facts = picture.facts
    return Preview(facts.width, facts.height, facts.format, jpeg_of(picture.pixels))


def warm(library: Library) -> None:
    """Load the model and start a worker, so that the first picture does not wait for them."""
    workers_of(library).warm()
    if library.bundle.onnx:
        _ = library.encoder
