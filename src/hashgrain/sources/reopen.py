"""From an item of a library back to its picture."""

from __future__ import annotations

import os
from typing import Any, Protocol

from hashgrain.errors import ImageError
from hashgrain.sources.archives import ARCHIVES, read_member
from hashgrain.sources.arrays import SUFFIX as ARRAY
from hashgrain.sources.arrays import read_array_row
from hashgrain.sources.source import Source, file_source, read_capped
from hashgrain.sources.tables import read_row


class StoredSource(Protocol):
    """What a library stores about a source."""

    @property
    def path(self) -> str: ...
    @property
    def size(self) -> int | None: ...
    @property
    def mtime_ns(self) -> int | None: ...
    @property
    def meta(self) -> dict[str, Any]: ...


def reopen(item: StoredSource) -> Source:
    """The source an item came from, with its metadata. Reading it fails where the file is gone."""
    stamp = None if item.size is None or item.mtime_ns is None else (item.size, item.mtime_ns)
    if stamp is not None and os.path.isfile(item.path):
        source = file_source(item.path, os.stat(item.path))
        return Source(source.path, source.load, source.stamp, item.meta)
    return Source(item.path, lambda: _read(item.path), stamp, item.meta)


def file_of(path: str) -> str:
    """The file on disk that holds a picture: the path itself, or the archive or table it is in."""
    return _parted(path)[0]


def _parted(path: str) -> tuple[str, str, str]:
    """(file, "!" and member of an archive | "#" and row of a table or an array | "" and nothing)."""
    archive, bang, member = path.partition("!")
    while bang:
        if archive.lower().endswith(ARCHIVES):
            return archive, bang, member
        more, bang, member = member.partition("!")
        archive += "!" + more
    table, hash_sign, row = path.rpartition("#")
    if table.lower().endswith((".parquet", ARRAY)) and row.isdecimal() and row.isascii():
        return table, hash_sign, row
    return path, "", ""


def _read(path: str) -> bytes:
    file, sign, place = _parted(path)
    if sign == "!":
        return read_member(file, place)
    if sign == "#":
        read = read_array_row if file.lower().endswith(ARRAY) else read_row
        return read(file, int(place))
    if not os.path.isabs(path):
        raise ImageError(f"{path}: was given as an object, and cannot be read again", path=path)
    return read_capped(path)
