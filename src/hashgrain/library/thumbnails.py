"""Thumbnails, made on demand and kept in a folder of the library that never grows past its cap."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from hashgrain import inside
from hashgrain.errors import ImageError
from hashgrain.store import Item

if TYPE_CHECKING:
    from hashgrain.media import DecodePool

FOLDER = "thumbs"
CACHE_BYTES = 256 << 20
MAX_BYTES = 16 << 20  # of one thumbnail
TRIM_EVERY = 100  # new thumbnails between looks at the size of the folder
# The only names that are ours to trim: nothing else in the folder is touched.
GROUP = re.compile(r"[0-9a-f]{2}")
OURS = re.compile(r"[0-9a-f]{64}-\d+\.jpg|\.[0-9a-f]{64}-\d+\.jpg\.[0-9a-f]{8}\.part")


class Thumbnails:
    def __init__(self, library: Path, cap: int = CACHE_BYTES) -> None:
        self.library = library
        self.cap = cap
        self.made = 0

    def get(self, item: Item, edge: int, pool: Callable[[], DecodePool]) -> bytes:
        """From the cache, or from the picture, which a worker decodes. A cache that cannot be used only costs time."""
        group, name = item.content[:2], f"{item.content}-{edge}.jpg"
        with contextlib.suppress(OSError):
            cached = inside.read(self.library, FOLDER, group, name, cap=MAX_BYTES)
            if cached.startswith(b"\xff\xd8") and cached.endswith(b"\xff\xd9"):  # else cut short
                return cached
        from hashgrain.sources import reopen

        try:
            source = reopen(item).load()
        except OSError as error:
            raise ImageError(f"{item.path} cannot be shown ({error.strerror or error})", path=item.path) from None
        small = pool().thumbnail(source, edge=edge)
        with contextlib.suppress(OSError):
            self._keep(group, name, small)
        return small

    def _keep(self, group: str, name: str, small: bytes) -> None:
        if self.made % TRIM_EVERY == 0:
            self._trim()
        self.made += 1
        inside.make_folder(self.library, FOLDER)
        inside.make_folder(self.library, FOLDER, group)
        inside.write(self.library, FOLDER, group, name, data=small, durable=False)

    def _trim(self) -> None:
        """Drop the oldest files until a tenth of the cap is free."""
        files = sorted(self._files())
        total = sum(size for _, size, _, _ in files)
        if total <= self.cap:
            return
        for _, size, group, name in files:
            with contextlib.suppress(FileNotFoundError):
                inside.remove(self.library, FOLDER, group, name)
            total -= size
            if total <= self.cap * 9 // 10:
                return

    def _files(self) -> list[tuple[float, int, str, str]]:
        """Time, size and place of each thumbnail."""
        files = []
        for group in filter(GROUP.fullmatch, inside.names(self.library, FOLDER)):
            with contextlib.suppress(OSError):  # a link, or no folder
                for name in filter(OURS.fullmatch, inside.names(self.library, FOLDER, group)):
                    if inside.is_file(self.library, FOLDER, group, name):
                        status = inside.look(self.library, FOLDER, group, name)
                        files.append((status.st_mtime, status.st_size, group, name))
        return files
