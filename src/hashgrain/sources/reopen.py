"""From an item of a library back to its picture."""

from __future__ import annotations

import os
from typing import Any, Protocol

from hashgrain.errors import ImageError
from hashgrain.sources.archives import ARCHIVES, read_member
from hashgrain.sources.source import Source, file_source, read_capped
from hashgrain.sources.tables import read_row


class Known(Protocol):
    """What a library remembers of a source."""

    @property
    def path(self) -> str: ...
    @property
    def size(self) -> int | None: ...
    @property
    def mtime_ns(self) -> int | None: ...
    @property
    def meta(self) -> dict[str, Any]: ...


def reopen(item: Known) -> Source:
    """The source an item came from, with its metadata. Reading it fails where the file is gone."""
    stamp = None if item.size is None or item.mtime_ns is None else (item.size, item.mtime_ns)
    if stamp is not None and os.path.isfile(item.path):
        source = file_source(item.path, os.stat(item.path))
        return Source(source.path, source.load, source.stamp, item.meta)
    return Source(item.path, lambda: _read(item.path), stamp, item.meta)


def _read(path: str) -> bytes:
    archive, bang, member = path.partition("!")
    while bang and not archive.lower().endswith(ARCHIVES):
        more, bang, member = member.partition("!")
        archive += "!" + more
    if bang:
        return read_member(archive, member)
    table, hash_sign, row = path.rpartition("#")
    if hash_sign and table.lower().endswith(".parquet") and row.isdigit():
        return read_row(table, int(row))
    if path.startswith("array:") or not os.path.isabs(path):
        raise ImageError(f"{path}: was given as an object, and cannot be read again")
    return read_capped(path)
