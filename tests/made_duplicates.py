"""Libraries of real files with made-up codes, whose distances a test chooses."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from conftest import make_picture
from hashgrain import Library
from hashgrain.store import New


@dataclass(frozen=True)
class Made:
    """A file: the picture in it, its size, and the bits of its code that are set."""

    seed: int
    bits: tuple[int, ...] = ()
    size: tuple[int, int] = (40, 30)
    quality: int = 90
    taken: str | None = None
    meta: Mapping[str, object] = field(default_factory=dict)
    picture: Image.Image | None = None  # instead of the one that is made of the seed

    def content(self) -> bytes:
        file = io.BytesIO()
        (self.picture or make_picture(self.seed, self.size)).save(file, "jpeg", quality=self.quality)
        return file.getvalue()


def code_of(bits: tuple[int, ...]) -> NDArray[np.uint64]:
    code = np.zeros(2, np.uint64)
    for bit in bits:
        code[bit // 64] |= np.uint64(1) << np.uint64(bit % 64)
    return code


def bits_from(start: int, count: int) -> tuple[int, ...]:
    return tuple(range(start, start + count))


def make_library(home: Path, files: Mapping[str, Made]) -> Path:
    """home/lib.hg over the files of home, written here, with codes of 128 bits."""
    home.mkdir(parents=True, exist_ok=True)
    with Library.create(home / "lib.hg", "small") as library:
        for name, made in files.items():
            path, content = home / name, made.content()
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            status = path.stat()
            item = New(
                path=str(path),
                content=hashlib.sha256(content).hexdigest(),
                stamp=(status.st_size, status.st_mtime_ns),
                width=made.size[0],
                height=made.size[1],
                format="jpeg",
                taken=made.taken,
                code=code_of(made.bits),
                meta=made.meta,
            )
            library.store.commit([item])
    return home / "lib.hg"


def tree(home: Path) -> dict[str, bytes]:
    """Every picture below a folder, by its path there, but for the thumbnails of a library."""
    pictures = [path for path in sorted(home.rglob("*.jpg")) if "thumbs" not in path.parts]
    return {str(path.relative_to(home)): path.read_bytes() for path in pictures}
