"""The demo: draw or take pictures, build a library, search it, report how often it was right."""

from __future__ import annotations

import csv
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from hashgrain.apps.answer_page import page_hit
from hashgrain.apps.drawn_scenes import write_scenes
from hashgrain.errors import LibraryError, QueryError
from hashgrain.library import Library
from hashgrain.library.report import Progress
from hashgrain.report.page import PageGroup, PageHit, PageQuery, result_page
from hashgrain.search import Hit
from hashgrain.store import Item

LabelsByName = Mapping[str, Mapping[str, str]]  # file name -> grain -> label
Suggest = Callable[[Path, Path, "str | None"], Iterable[str]]
SHOWN = 6
PHRASES = ("a bird", "a dog", "a vehicle", "food")  # asked of photographs, whatever they show
OF_DRAWN = ("a bird", "a car", "a house", "a flower")  # and of the pictures that are drawn


def run_demo(
    folder: Path, photos: Path | None, progress: Progress | None = None, suggest: Suggest | None = None
) -> Iterator[str]:
    """Run the demo in `folder`, and yield what it did, line by line. The last lines are those of `suggest`, which is
    given the library, one of its pictures, and a phrase that finds pictures, if there is one."""
    started = time.monotonic()
    folder.mkdir(parents=True, exist_ok=True)
    labels: LabelsByName = {}
    if photos is None:
        pictures = write_scenes(folder / "pictures")
        labels = _read_labels(pictures)
        yield f"Drew {len(labels)} pictures in {pictures}: kinds, things, and near copies of each look."
    else:
        pictures = photos.expanduser()
    at = folder / ("pictures.hg" if photos is None else "photos.hg")
    with Library.open_or_create(at) as library:
        report = library.add(pictures, progress=progress)
        if not len(library):
            raise LibraryError(f"no pictures found in {pictures}; give a folder with JPEG, PNG or WebP files in it")
        yield (
            f"Library {at}: {len(library)} pictures ({report.encoded} encoded now in {report.seconds:.1f} s,"
            f" {len(report.refused)} refused), {library.grains.bits // 8} bytes of code each."
        )
        if labels:
            yield from _score(library, labels)
        worded = _worded(library, OF_DRAWN if labels else PHRASES)
        for phrase, hits in worded.items():
            yield f'The words "{phrase}" find {", ".join(Path(hit.path).name for hit in hits[:3])}.'
        page = folder / "results.html"
        page.write_text(_page(library, labels, worded), encoding="utf-8")
    yield f"Wrote {page}: open it in a browser to see searches at each grain."
    yield f"All done in {time.monotonic() - started:.0f} s."
    if suggest:
        example = next(iter(sorted(pictures.rglob("*.jpg"))), pictures)
        yield from suggest(at, example, next(iter(worded), None))


def _read_labels(pictures: Path) -> dict[str, dict[str, str]]:
    with (pictures / "labels.csv").open(newline="", encoding="utf-8") as file:
        return {row["name"]: {grain: row[grain] for grain in ("kind", "thing", "look")} for row in csv.DictReader(file)}


def _score(library: Library, labels: LabelsByName) -> Iterator[str]:
    """How often the nearest is right, and how often a blind guess would be.

    At the finest grain the nearest picture should be a near copy. At the others near copies are passed over:
    finding a cropped cat for a cat would prove nothing about cats.
    """
    items = library.items()
    truth = {item.id: labels[Path(item.path).name] for item in items}
    finest = library.grains.finest
    copies = max(Counter(label[finest] for label in truth.values()).values())
    yield "How often the nearest picture was right (and how often a blind guess would be):"
    for grain, bits in library.grains.items():
        right = 0
        for item in items:
            hits = library.search(item.id, k=copies, grain=grain)
            if grain != finest:
                hits = [hit for hit in hits if truth[hit.id][finest] != truth[item.id][finest]]
            right += truth[hits[0].id][grain] == truth[item.id][grain]
        sizes = Counter(label[grain] for label in truth.values()).values()
        guess = sum(size * (size - 1) for size in sizes) / (len(items) * (len(items) - 1))
        among = "among all" if grain == finest else "among other looks"
        yield f"  {grain:<6} {bits:>4} bits: {right / len(items):6.1%}   (guess {guess:.1%}), {among}"


def _worded(library: Library, phrases: Iterable[str]) -> dict[str, list[Hit]]:
    """What words find, where the model knows words."""
    try:
        return {phrase: library.search(text=phrase, k=SHOWN) for phrase in phrases}
    except QueryError:
        return {}


def _page(library: Library, labels: LabelsByName, worded: Mapping[str, list[Hit]]) -> str:
    """A few pictures, each asked at every grain, and a few phrases."""
    items = library.items()
    groups = []
    for item in items[:: max(1, len(items) // 5)][:5]:
        asked: PageQuery | None = PageQuery(Path(item.path).name, library.thumbnail(item.id))
        for grain, bits in library.grains.items():
            cards = [_card(library, item, hit, labels) for hit in library.search(item.id, k=SHOWN, grain=grain)]
            groups.append(PageGroup(f"Nearest at {grain}, {bits} bits", cards, asked))
            asked = None  # shown once, above its first group
    for phrase, hits in worded.items():
        groups.append(PageGroup(f"The words “{phrase}”", [page_hit(library, hit) for hit in hits], None))
    lead = "Each picture is asked at every grain: what kind is it, which thing, this very look?"
    if worded:
        lead += " Below them, what words find."
    return result_page(None, groups, title="HashGrain: nearest pictures at each grain", lead=lead)


def _card(library: Library, item: Item, hit: Hit, labels: LabelsByName) -> PageHit:
    if not labels:
        return page_hit(library, hit)
    own, other = labels[Path(item.path).name], labels[Path(hit.path).name]
    note = " › ".join(other.values())
    return page_hit(library, hit, note=note, right=own[hit.grain] == other[hit.grain])
