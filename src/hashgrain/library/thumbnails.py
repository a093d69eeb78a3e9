"""Thumbnails, made on demand and kept in a folder that never grows past its cap."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from hashgrain.errors import ImageError
from hashgrain.images import thumbnail
from hashgrain.sources import reopen
from hashgrain.store import Item

CACHE_BYTES = 256 << 20
TRIM_EVERY = 100  # new thumbnails between looks at the size of the folder


class Thumbnails:
    def __init__(self, folder: Path, cap: int = CACHE_BYTES) -> None:
        self.folder = folder
        self.cap = cap
        self.made = 0

    def get(self, item: Item, edge: int) -> bytes:
        """From the cache, or from the picture. A cache that cannot be written only costs time."""
        cached = self.folder / item.content[:2] / f"{item.content}-{edge}.jpg"
        with contextlib.suppress(OSError):
            return cached.read_bytes()
        try:
            source = reopen(item).load()
        except OSError as error:
            raise ImageError(f"{item.path} cannot be shown ({error.strerror or error})") from None
        small = thumbnail(source, edge=edge)
        with contextlib.suppress(OSError):
            self._keep(cached, small)
        return small

    def _keep(self, cached: Path, small: bytes) -> None:
        if self.made % TRIM_EVERY == 0:
            self._trim()
        self.made += 1
        cached.parent.mkdir(parents=True, exist_ok=True)
        part = cached.with_suffix(f".{os.getpid()}.part")
        part.write_bytes(small)
        os.replace(part, cached)

    def _trim(self) -> None:
        """Drop the oldest files until a tenth of the cap is free."""
        files = sorted(
            ((file.stat().st_mtime, file.stat().st_size, file) for file in self.folder.glob("*/*")),
            key=lambda f: f[0],
        )
        total = sum(size for _, size, _ in files)
        if total <= self.cap:
            return
        for _, size, file in files:
            file.unlink(missing_ok=True)
            total -= size
            if total <= self.cap * 9 // 10:
                return
