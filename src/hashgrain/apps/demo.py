"""The demo: draw or take pictures, build a library, ask it, say how often it was right."""

from __future__ import annotations

import csv
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from hashgrain.apps.answer_page import page_hit
from hashgrain.apps.page import PageGroup, PageQuery, result_page
from hashgrain.apps.scenes import write_scenes
from hashgrain.errors import LibraryError
from hashgrain.library import Library
from hashgrain.library.adding import Progress
from hashgrain.search import Hit

Labels = Mapping[str, Mapping[str, str]]  # file name -> grain -> label
SHOWN = 6


def run_demo(folder: Path, photos: Path | None, progress: Progress | None = None) -> Iterator[str]:
    """Do the whole line in `folder`, telling the story line by line."""
    started = time.monotonic()
    folder.mkdir(parents=True, exist_ok=True)
    labels: Labels = {}
    if photos is None:
        pictures = write_scenes(folder / "pictures")
        labels = _read_labels(pictures)
        yield f"Drew {len(labels)} pictures in {pictures}: kinds, things, and near copies of each look."
    else:
        pictures = photos.expanduser()
    at = folder / ("pictures.hg" if photos is None else "photos.hg")
    with Library.open(at, "w") if at.exists() else Library.create(at) as library:
        report = library.add(pictures, progress=progress)
        if not len(library):
            raise LibraryError(
                f"no pictures found in {pictures}; give a folder with JPEG, PNG or WebP files in it"
            )
        yield (
            f"Library {at}: {len(library)} pictures ({report.encoded} encoded now in {report.seconds:.1f} s,"
            f" {len(report.refused)} refused), {library.grains.bits // 8} bytes of code each."
        )
        if labels:
            yield from _score(library, labels)
        page = folder / "results.html"
        page.write_text(_page(library, labels), encoding="utf-8")
    yield f"Wrote {page}: open it in a browser to see searches at each grain."
    yield f"All done in {time.monotonic() - started:.0f} s. Try next:"
    example = next(iter(sorted(pictures.rglob("*.jpg"))), pictures)
    yield f"  hashgrain search {at} {example} -k 5 --open"
    yield f"  hashgrain search {at} {example} --grain kind --where 'width > 300'"
    yield "  hashgrain add mine.hg ~/Pictures"


def _read_labels(pictures: Path) -> dict[str, dict[str, str]]:
    with (pictures / "labels.csv").open(newline="", encoding="utf-8") as file:
        return {
            row["name"]: {grain: row[grain] for grain in ("kind", "thing", "look")}
            for row in csv.DictReader(file)
        }


def _score(library: Library, labels: Labels) -> Iterator[str]:
    """How often the nearest other picture is of the same kind, thing, look; and what guessing would give."""
    right = dict.fromkeys(library.grains, 0)
    items = library.items()
    for item in items:
        for grain in right:
            (nearest,) = library.search(item.id, k=1, grain=grain)
            right[grain] += labels[Path(item.path).name][grain] == labels[Path(nearest.path).name][grain]
    yield "How often the nearest other picture was right (and how often a blind guess would be):"
    for grain, count in right.items():
        column = [labels[Path(item.path).name][grain] for item in items]
        guess = sum(column.count(label) - 1 for label in column) / (len(column) * (len(column) - 1))
        yield f"  {grain:<6} {library.grains[grain]:>4} bits: {count / len(items):6.1%}   (guess {guess:.1%})"


def _page(library: Library, labels: Labels) -> str:
    items = library.items()
    chosen = items[:: max(1, len(items) // 5)][:5]
    groups = []
    for item in chosen:
        name = Path(item.path).name
        for grain in library.grains:
            hits = library.search(item.id, k=SHOWN, grain=grain)
            right = [
                labels[name][grain] == labels[Path(hit.path).name][grain] if labels else None for hit in hits
            ]
            groups.append(_group(library, name, grain, hits, right))
    query = PageQuery(name=Path(chosen[0].path).name, thumbnail=library.thumbnail(chosen[0].id))
    return result_page(query, groups, title="HashGrain demo: nearest pictures at each grain")


def _group(
    library: Library, name: str, grain: str, hits: Sequence[Hit], right: Sequence[bool | None]
) -> PageGroup:
    cards = [page_hit(library, hit, right=mark) for hit, mark in zip(hits, right, strict=True)]
    return PageGroup(title=f"{name} at {grain} ({library.grains[grain]} bits)", hits=cards)
