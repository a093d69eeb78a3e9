"""Pictures in numpy's .npy files, a row a picture. Arrays are mapped, not loaded, and never unpickled."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hashgrain.errors import ImageError, SourceError
from hashgrain.sources.source import MAX_BYTES, Refused, Source

SUFFIX = ".npy"


def open_array(file: Path) -> NDArray[Any]:
    """Mapped for reading. Arrays of Python objects are refused: to read them is to run what they say."""
    try:
        return np.lib.format.open_memmap(file, mode="r")
    except OSError as error:
        raise SourceError(f"cannot read {file}: {error.strerror or error}", path=file) from None
    except Exception as error:  # a header made to be wrong raises what Python's parser and numpy's shapes raise
        raise SourceError(f"{file} is damaged, or not an array we read ({error})", path=file) from None


def open_pictures(file: Path) -> NDArray[np.uint8]:
    pixels = open_array(file)
    if pixels.dtype != np.uint8 or not (pixels.ndim == 3 or (pixels.ndim == 4 and pixels.shape[3] == 3)):
        raise SourceError(
            f"{file}: {pixels.dtype} of shape {pixels.shape}; pictures are uint8 (n, height, width, 3) or"
            " (n, height, width)",
            path=file,
        )
    if 0 in pixels.shape[1:] or int(np.prod(pixels.shape[1:])) > MAX_BYTES:
        raise SourceError(
            f"{file}: pictures of {pixels.shape[1:]} are empty, or larger than {MAX_BYTES >> 20} MB", path=file
        )
    return pixels


def as_file(pixels: NDArray[np.uint8], row: int) -> bytes:
    """One picture as a BMP file: every picture is read as the bytes of a file, and BMP keeps each pixel as it is."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels[row])).save(file, "BMP")
    return file.getvalue()


def array_sources(path: str) -> Iterator[Source | Refused]:
    """The pictures of an array, by row: `/x/data.npy#17`."""
    try:
        pixels, changed = open_pictures(Path(path)), os.stat(path).st_mtime_ns
    except (SourceError, OSError) as error:
        yield Refused(path, str(error).removeprefix(f"{path}: "))
        return
    size = int(np.prod(pixels.shape[1:]))
    for row in range(len(pixels)):
        yield Source(f"{path}#{row}", partial(as_file, pixels, row), (size, changed))


def read_array_row(path: str, row: int) -> bytes:
    """One picture of an array."""
    try:
        pixels = open_pictures(Path(path))
    except SourceError as error:
        raise ImageError(str(error)) from None
    if row >= len(pixels):
        raise ImageError(f"{path}#{row}: it has no such row any more", path=path)
    return as_file(pixels, row)
