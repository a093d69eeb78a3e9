"""The pictures on which a head is fitted: a selection from a folder, in an order that does not depend on names."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from hashgrain.errors import ImageError, SourceError
from hashgrain.labelled import labelled_pictures
from hashgrain.labelled.picture import LabelledPicture
from hashgrain.media import open_picture


@dataclass(frozen=True)
class Shot:
    """A picture of the user, not decoded."""

    name: str
    sha256: str
    read: Callable[[], bytes]

    def image(self, edge: int) -> Image.Image:
        """Decode the picture, upright, with at most `edge` pixels in width and height."""
        return Image.fromarray(open_picture(self.read(), name=self.name, edge=edge).pixels)


@dataclass(frozen=True)
class Shots:
    """Distinct pictures, sorted by SHA-256, and the names of files that could not be read."""

    pictures: list[Shot]
    unreadable: list[str]

    def digest(self) -> str:
        return hashlib.sha256("".join(shot.sha256 for shot in self.pictures).encode()).hexdigest()


def shots_of(place: Path, limit: int) -> Shots:
    """Up to `limit` pictures of a folder, list or table. If there are more, the hashes of their names select some."""
    listed = list(labelled_pictures(place, unlabelled=True))
    if not listed:
        raise SourceError(f"no pictures in {place}; name a folder of pictures")
    if len(listed) > limit:
        listed = sorted(
            listed, key=lambda picture: hashlib.sha256(picture.name.encode("utf-8", "surrogateescape")).digest()
        )
    by_sha256: dict[str, Shot] = {}
    unreadable = []
    for picture in listed[:limit]:
        try:
            sha256 = hashlib.sha256(picture.read()).hexdigest()
        except (OSError, ImageError):
            unreadable.append(picture.name)
            continue
        by_sha256.setdefault(sha256, Shot(picture.name, sha256, _reader(picture)))
    return Shots([by_sha256[sha256] for sha256 in sorted(by_sha256)], unreadable)


def _reader(picture: LabelledPicture) -> Callable[[], bytes]:
    return picture.read
