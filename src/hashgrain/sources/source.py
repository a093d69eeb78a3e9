"""A picture that can be read, and one that cannot."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from hashgrain.errors import ImageError
from hashgrain.files import TooLargeError, read_regular
from hashgrain.media.formats import MAX_BYTES as MAX_BYTES
from hashgrain.media.formats import SUFFIXES as SUFFIXES


@dataclass(frozen=True)
class Source:
    """A picture under its name in a library.

    `path` is the absolute path of a file; `/x/a.tar!b/1.jpg` in an archive; `/x/t.parquet#17` in a table or an
    array (`/x/data.npy#17`).
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
    """The bytes of a regular file of at most MAX_BYTES."""
    try:
        return read_regular(path, MAX_BYTES)
    except TooLargeError as error:
        raise ImageError(f"{path}: the file {error.strerror}", path=path) from None


def file_source(path: str, status: os.stat_result) -> Source:
    return Source(path, lambda: read_capped(path), (status.st_size, status.st_mtime_ns))
