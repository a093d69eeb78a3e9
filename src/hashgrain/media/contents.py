"""The bytes of a file that nobody vouches for."""

from __future__ import annotations

from hashgrain.errors import ImageError
from hashgrain.files import read_regular
from hashgrain.media.formats import MAX_BYTES


def read_file(path: str) -> bytes:
    """The bytes of a regular file of at most MAX_BYTES, or a refusal that says why."""
    try:
        return read_regular(path, MAX_BYTES)
    except OSError as error:
        raise ImageError(f"{path}: cannot be read ({error.strerror or error})", path=path) from None
