"""Reading a source: its bytes, their hash, and the reason if it cannot be read."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from hashgrain.codes import Codes
from hashgrain.errors import ImageError, Remedy
from hashgrain.media import Facts, open_picture
from hashgrain.models import Encoder
from hashgrain.sources import Refused, Source, file_of, find, reopen

if TYPE_CHECKING:
    from pathlib import Path

    from hashgrain.store import Item


def read(source: Source) -> tuple[str, bytes, Facts | None]:
    """(content hash, bytes for the decoder, facts if the bytes do not hold them)."""
    loaded = source.load()
    if isinstance(loaded, bytes):
        return hashlib.sha256(loaded).hexdigest(), loaded, None
    from PIL import Image

    picture = open_picture(loaded, name=source.path)
    shape = str(picture.pixels.shape).encode()
    content = hashlib.sha256(shape + picture.pixels.tobytes()).hexdigest()
    bitmap = io.BytesIO()
    Image.fromarray(picture.pixels).save(bitmap, "bmp")  # lossless, and costs a copy
    return content, bitmap.getvalue(), picture.facts


def reason_of(error: Exception) -> str:
    return (error.strerror or str(error)) if isinstance(error, OSError) else str(error)


def picture_of_item(item: Item, library: Path) -> bytes:
    """The picture of an item, as it was when it was added. Raises ImageError if its file is gone or has changed."""
    try:
        content, data, _ = read(reopen(item))
    except (ImageError, OSError) as error:
        reason = reason_of(error).removeprefix(f"{item.path}: ")
        message = f"item {item.id} cannot be shown: {item.path}: {reason}"
        raise ImageError(message, path=item.path) from None
    if item.content and content != item.content:
        remedy = Remedy("update the library first", "update", library=library)
        raise ImageError(f"{item.path} has changed since it was added", path=item.path, remedy=remedy)
    return data


def is_gone(path: str) -> bool:
    """Whether the file of a picture is missing. A file that may not be read is not missing."""
    try:
        os.lstat(file_of(path))
    except (FileNotFoundError, NotADirectoryError, ValueError):  # ValueError: a zero byte, which no name has
        return True
    except OSError:
        return False
    return False


def encode_sources(
    encoder: Encoder, sources: Any, *, workers: int, max_pixels: int
) -> Iterator[tuple[str, Codes | ImageError]]:
    """Codes of sources, one by one, without a library. What cannot be opened comes back as its refusal."""

    def readable() -> Iterator[tuple[str, bytes]]:
        for source in find(sources):
            if isinstance(source, Refused):
                refused.append((source.path, ImageError(source.reason)))
                continue
            try:
                yield source.path, read(source)[1]
            except (ImageError, OSError) as error:
                refused.append((source.path, ImageError(reason_of(error))))

    refused: list[tuple[str, ImageError]] = []
    yield from encoder.encode_each(readable(), workers=workers, max_pixels=max_pixels)
    yield from refused
