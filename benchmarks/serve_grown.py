"""A large library with parts, grown from pictures that are really encoded."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hashgrain import Library
from hashgrain.learn.photo.pictures import tiny_imagenet
from hashgrain.store import New, Parts
from report import need_data

REAL = 16  # small pictures that are encoded, beside the photographs
AT_ONCE = 5_000  # items of a commit
FLIPPED = 3  # a bit of a grown item differs from its picture's with a chance of 1 / 2**3, one of a part with 1 / 2**5
PART_FLIPPED = 5
GROWN = "/grown/"
Words = NDArray[np.uint64]


def grown_library(home: Path, items: int) -> Path:
    """The library in `home`, made if it is not there: photographs, a few pictures of Tiny ImageNet, and grown items.

    A grown item has the codes of a picture with bits flipped: the same bits in the whole and in all parts, then others
    in each part, so that the parts of an item lie together as they do in pictures.
    """
    place = home / f"{items}.hg"
    if (home / f"{items}.done").exists():
        return place
    with Library.open_or_create(place) as library:
        library.add([need_data() / "photos", _pictures(home / "pictures")])
        wholes, parts = _codes_with_parts(library)
        draw = np.random.default_rng(5)
        todo = iter(range(len(library), items))
        while numbers := list(itertools.islice(todo, AT_ONCE)):
            library.store.commit([_grown(number, wholes, parts, draw) for number in numbers])
        library.index()
    (home / f"{items}.done").touch()
    return place


def _pictures(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for number, shot in enumerate(itertools.islice(tiny_imagenet(need_data(), "val"), REAL)):
        shot.open().save(folder / f"{number:05}.jpg", quality=95)
    return folder


def _codes_with_parts(library: Library) -> tuple[Words, list[Words]]:
    with library.store.snapshot(parts=True) as snapshot:
        ids = [item.id for item in library.items() if not item.path.startswith(GROWN)]
        return snapshot.codes(ids), [parts.codes for parts in snapshot.parts_of(ids) if parts]


def _flips(draw: np.random.Generator, shape: tuple[int, ...], halvings: int) -> Words:
    """Words with each bit set with a chance of 1 / 2**halvings."""
    found = draw.integers(0, 2**64, shape, np.uint64)
    for _ in range(halvings - 1):
        found &= draw.integers(0, 2**64, shape, np.uint64)
    return found


def _grown(number: int, wholes: Words, parts: list[Words], draw: np.random.Generator) -> New:
    picture = number % len(wholes)
    changed = _flips(draw, wholes[picture].shape, FLIPPED)
    own = Parts(parts[picture] ^ changed ^ _flips(draw, parts[picture].shape, PART_FLIPPED))
    content = hashlib.sha256(str(number).encode()).hexdigest()
    path = f"{GROWN}{number:07}.jpg"
    return New(path, content, (1000, number), 640, 480, "JPEG", None, wholes[picture] ^ changed, parts=own)


def rows_of_library(library: Library) -> Iterator[tuple[Words, NDArray[np.int64]]]:
    """All codes, of wholes and of parts, and the item of each."""
    with library.store.snapshot(parts=True) as snapshot:
        for segment in snapshot.segments:
            yield np.stack(segment.planes, axis=1)[segment.alive], segment.ids[segment.alive]
        for segment in snapshot.part_segments:
            yield np.stack(segment.planes, axis=1)[segment.alive], segment.ids[segment.alive] >> 16
