"""A picture that can be read, and one that cannot."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from hashgrain.errors import ImageError

# In a folder, what does not look like a picture is passed over; a file named outright is always tried.
SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".webp", ".gif"}
    | {".bmp", ".tif", ".tiff", ".avif", ".heic", ".heif"}
)
MAX_BYTES = 512 << 20  # of one picture's file: more is no picture, and would fill the memory


@dataclass(frozen=True)
class Source:
    """A picture under its name in a library.

    `path` is the absolute path of a file; `/x/a.tar!b/1.jpg` in an archive; `/x/t.parquet#17` in a table.
    `stamp` is (size, mtime_ns) where there is a file: the same stamp means the same content.
    """

    path: str
    load: Callable[[], Any]
    stamp: tuple[int, int] | None = None
    meta: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Refused:
    path: str
    reason: str


def read_capped(path: str) -> bytes:
    """The bytes of a plain file."""
    with open(path, "rb") as file:
        content = file.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise ImageError(f"{path}: the file is larger than {MAX_BYTES >> 20} MB")
    return content


def file_source(path: str, status: os.stat_result) -> Source:
    return Source(path, lambda: read_capped(path), (status.st_size, status.st_mtime_ns))
