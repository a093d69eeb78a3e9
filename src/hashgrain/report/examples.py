"""Example queries: the best and the worst, with their hits, as pictures."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hashgrain.codes import Codes
from hashgrain.errors import ImageError
from hashgrain.evaluate.manifest import Manifest
from hashgrain.evaluate.results import Row
from hashgrain.labelled import LabelledPicture, labelled_pictures
from hashgrain.media import thumbnail
from hashgrain.report.page import PageHit, PageQuery
from hashgrain.report.report_page import Example

EACH = 4  # good examples, and bad examples
HITS = 6
EDGE = 128


@dataclass(frozen=True, eq=False)
class Picked:
    """A query by its index in the manifest, its nearest items with their distances, and its figure."""

    query: int
    hits: NDArray[np.int64]
    distances: NDArray[np.int64]
    relevant: NDArray[np.bool_]
    title: str
    figure: str


def pick_examples(row: Row, manifest: Manifest, queries: Codes, database: Codes) -> list[Picked]:
    """The queries with the best and the worst AP of a row, from different classes if there are enough."""
    order = np.argsort(row.per_query, kind="stable")
    chosen = [(place, "Went well") for place in _varied(order[::-1], manifest)]
    chosen += [(place, "Went badly") for place in _varied(order, manifest) if place not in dict(chosen)]
    labels, picked = manifest.labels(), []
    least = 1 if manifest.in_sets else labels.most_grades
    for place, title in chosen:
        query = int(manifest.queries[place])
        distances = np.bitwise_count(database.words ^ queries.words[place]).sum(axis=1, dtype=np.int64)
        nearest = np.argsort(distances, kind="stable")[:HITS]
        hits = manifest.database[nearest]
        grades = labels[np.array([query])].grades(labels[hits])[0]  # type: ignore[arg-type]
        figure = f"AP {row.per_query[place]:.3f} at {row.bits} bits"
        picked.append(Picked(query, hits, distances[nearest], grades >= least, title, figure))
    return picked


def shown_examples(picked: Sequence[Picked], manifest: Manifest, names: Sequence[str], data: Path) -> list[Example]:
    """The examples with their pictures, read from `data`; `names` are the names there of the manifest's pictures."""
    wanted = {names[i] for each in picked for i in (each.query, *each.hits.tolist())}
    small = _thumbnails(p for p in labelled_pictures(data) if p.name in wanted)
    return [_shown(each, manifest, names, small) for each in picked]


def _varied(order: NDArray[np.int64], manifest: Manifest) -> list[int]:
    """The first of an order, from different classes as far as possible."""
    seen: set[tuple[str, ...]] = set()
    first: list[int] = []
    for place in order.tolist():
        classes = manifest.classes[int(manifest.queries[place])]
        if classes not in seen:
            seen.add(classes)
            first.append(place)
        if len(first) == EACH:
            return first
    rest = (place for place in order.tolist() if place not in first)
    return first + [place for place, _ in zip(rest, range(EACH - len(first)), strict=False)]


def _thumbnails(pictures: Iterable[LabelledPicture]) -> Mapping[str, bytes]:
    """Thumbnails by name. A missing picture is left out, and the page says so."""
    by_name = {}
    for picture in pictures:
        try:
            by_name[picture.name] = _enlarged(thumbnail(picture.read(), edge=EDGE, name=picture.name))
        except (ImageError, OSError):
            continue
    return by_name


def _enlarged(jpeg: bytes) -> bytes:
    """Enlarge tiny pictures by an integer factor without interpolation."""
    image = Image.open(io.BytesIO(jpeg))
    factor = EDGE // max(image.size)
    if factor < 2:
        return jpeg
    larger = io.BytesIO()
    image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST).save(larger, "JPEG")
    return larger.getvalue()


def _shown(each: Picked, manifest: Manifest, names: Sequence[str], small: Mapping[str, bytes]) -> Example:
    def called(i: int) -> str:
        return ", ".join(manifest.classes[i]) if manifest.in_sets else manifest.classes[i][-1]

    hits = [
        PageHit(
            name=called(i),
            path="",
            thumbnail=small.get(names[i]),
            word="",
            distances={"distance": int(distance)},
            right=bool(right),
        )
        for i, distance, right in zip(each.hits.tolist(), each.distances, each.relevant, strict=True)
    ]
    query = PageQuery(called(each.query), small.get(names[each.query]))
    return Example(f"{each.title}: {called(each.query)}", each.figure, query, hits)
