"""A picture that nobody vouches for, decoded by a worker: what it is, its code, and a JPEG of it to show."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hashgrain.codes import Codes
from hashgrain.errors import ImageError
from hashgrain.media import DecodePool, Facts
from hashgrain.media.formats import looks_like_a_picture
from hashgrain.media.thumbnails import jpeg_of

if TYPE_CHECKING:
    from hashgrain.library.library import Library

START = 64  # bytes by which a format is known


@dataclass(frozen=True)
class Encoded:
    """The facts of a picture, and its code."""

    facts: Facts
    code: Codes


def is_picture(data: bytes) -> bool:
    """Whether these bytes begin like a picture of a format that is read here."""
    return looks_like_a_picture(data[:START])


def workers_of(library: Library) -> DecodePool:
    """The workers that decode for a library, which end with it."""
    return library._query_encoder.pool


def encode(library: Library, data: bytes, *, max_pixels: int) -> Encoded:
    """Decode a picture in the workers of a library, and encode it. Raises ImageError if it cannot be used."""
    ((_, picture),) = workers_of(library).open([(0, data)], max_pixels=max_pixels)
    if isinstance(picture, ImageError):
        raise picture
    return Encoded(picture.facts, library.encoder.codes(picture.pixels[None]))


def preview_of(library: Library, data: bytes, *, edge: int, max_pixels: int) -> bytes:
    """A JPEG of a picture, upright and without metadata, of at most `edge` pixels either way."""
    return jpeg_of(workers_of(library).shrunk(data, edge=edge, max_pixels=max_pixels).pixels)


def warm(library: Library) -> None:
    """Load the model and start a worker, so that the first picture does not wait for them."""
    workers_of(library).warm()
    if library.bundle.onnx:
        _ = library.encoder
