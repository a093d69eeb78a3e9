"""A library, and questions that an engine in a database has to answer as the library itself does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from conftest import fill, make_picture
from hashgrain import Hit, Library

COUNT = 16
QUESTIONS: list[dict[str, Any]] = [
    {},
    {"k": None, "grain": "kind"},
    {"grain": "thing", "where": "label = 1"},
    {"within": 30, "k": None},
    {"parts": "all"},
    {"parts": "whole", "weights": {"kind": 3.0, "thing": 1.0, "look": 0.5}},
    {"parts": "all", "weights": {"kind": 0.1, "thing": 1 / 3, "look": 0.7}},
    {"stages": [("kind", 9)]},
    {"min_score": 0.2},
]


def library_to_ask(folder: Path) -> Path:
    pictures = fill(folder / "pictures", COUNT)
    with Library.create(folder / "photos.hg", "photo", workers=1) as library:
        library.add(pictures, parts=True)
        library.meta(where="id > 8", set={"label": 1})
    return folder / "photos.hg"


def summary(hits: list[Hit]) -> list[Any]:
    return [(hit.id, hit.distance, hit.score, hit.part) for hit in hits]


def the_same(path: Path, address: str) -> int:
    """Ask a library and its engine the same; how many hits there were."""
    hits = 0
    with Library.open(path, workers=0) as plain, Library.open(path, engine=address, workers=0) as library:
        for question in QUESTIONS:
            for query in (5, make_picture(7)):
                expected = summary(plain.search(query, **question))
                assert summary(library.search(query, **question)) == expected, question
                hits += len(expected)
        assert summary(library.search(text="dog", k=5)) == summary(plain.search(text="dog", k=5))
    return hits


def changes_are_followed(folder: Path, address: str) -> None:
    """What changes in a library changes in its engine, also while it is open without it."""
    pictures = fill(folder / "pictures", 12)
    with Library.create(folder / "photos.hg", engine=address, workers=0) as library:
        library.add(pictures)
        assert len(library.search(1, k=None)) == 11
        library.remove([2, 3])
        assert {hit.id for hit in library.search(1, k=None)} == set(range(4, 13))
    with Library.open(folder / "photos.hg", "w", workers=0) as library:  # without the engine
        library.add(fill(folder / "more", 3, start=50))
        expected = summary(library.search(1, k=None))
    with Library.open(folder / "photos.hg", engine=address, workers=0) as library:
        assert summary(library.search(1, k=None)) == expected
