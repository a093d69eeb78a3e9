"""Why a hit was found: where it agrees with the query, in how many bits, and what each of the two shows.

why = explain_hit(library, "query.jpg", 12)
why.bits["look"]             # (229, 256): the bits that agree, and all
Path("why.png").write_bytes(drawn(why))
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hashgrain.codes import Codes
from hashgrain.errors import BundleError, ImageError, ItemMissingError, QueryError
from hashgrain.library import Library
from hashgrain.library.previews import workers_of
from hashgrain.library.reading import picture_of_item
from hashgrain.media import DecodePool, Picture
from hashgrain.media.cost import DEFAULT_MAX_PIXELS
from hashgrain.models import Encoder
from hashgrain.models.bundle import is_shipped
from hashgrain.models.dense import DenseMap
from hashgrain.models.description import MAP
from hashgrain.models.detail import DEFAULT, Detail, Look, detail_named, detail_of, side_of
from hashgrain.models.nearest_labels import nearest_labels
from hashgrain.models.parts import PartEncoder
from hashgrain.report.why_picture import GrainBits, Heat, Panel, draw_why
from hashgrain.search import Hit
from hashgrain.search.parts import matched
from hashgrain.types import Box, JsonLike, QueryLike

EDGE = 768  # pixels of the pictures that are shown, at most
PATCHES = 7  # of the picture, in each direction, that are blanked in turn
LEVEL = 4  # of the windows of a heat map, where a whole matched: small enough to tell places apart
OWN = "own"  # name of the detail of a model that is run at its own size alone
LABELS = 3
ONLY = "so only blank patches show what counts"

Floats = NDArray[np.float32]
Pixels = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Side:
    """What is known of one of the two pictures."""

    name: str
    pixels: Pixels  # (height, width, 3), upright
    labels: tuple[str, ...]  # nearest to its code, the nearest first
    agreement: (
        Floats | None
    )  # (rows, columns): the share of bits in which the window there agrees with the other's code


@dataclass(frozen=True, eq=False)
class Why:
    """The account of one hit."""

    query: Side
    hit: Side
    found: Hit  # as a search among this item alone answers
    bits: Mapping[str, tuple[int, int]]  # by grain: how many agree, of how many
    box: Box | None  # of the hit, that matched; None for the whole
    window: float | None  # the share of width and height that a window of the heat maps has
    occlusion: NDArray[np.int64] | None  # (rows, columns): bits that the distance grows by, with this patch blank
    notes: tuple[str, ...]  # what could not be shown, and why

    def as_dict(self) -> dict[str, JsonLike]:
        """Return the numbers as a dictionary for JSON. The keys are stable."""
        return {
            "query": {"path": self.query.name, **_side(self.query)},
            "hit": {**self.found.as_dict(), **_side(self.hit)},
            "bits": {grain: {"agree": agree, "of": of} for grain, (agree, of) in self.bits.items()},
            "window": self.window,
            "occlusion": None if self.occlusion is None else self.occlusion.tolist(),
            "notes": list(self.notes),
        }


def _side(side: Side) -> dict[str, JsonLike]:
    heat = side.agreement
    return {"labels": list(side.labels), "agreement": None if heat is None else np.round(heat, 4).tolist()}


@dataclass(frozen=True, eq=False)
class _Looked:
    """A picture as it is shown, and as the model takes it."""

    shown: Pixels
    picture: Picture


def explain_hit(
    library: Library,
    query: QueryLike,
    item: int,
    *,
    grain: str | None = None,
    max_pixels: int = DEFAULT_MAX_PIXELS,
) -> Why:
    """Compare a query, which is a picture or the id of an item, with an item of a library, at a grain or the finest.

    Raises ImageError if the picture of an item is gone or has changed since it was added, or if one cannot be opened.
    """
    grain = library.grains.finest if grain is None else grain
    library.grains.width(grain)
    name, given = _picture_asked_with(library, query)
    stored = picture_of_item(library.item(item), library.path)
    code = library.code(query if isinstance(query, (int, np.integer)) else given, max_pixels=max_pixels)
    found = _found(library, code, int(item), grain)
    box = found.part.box if found.part is not None and library.bundle.fitted == "squash" else None
    matching = _code_of(library, found)
    looking, notes = _part_encoder(library)
    asked, hit, cropped = _looked_at(library, (name, given), (found.path, stored), looking, box, max_pixels)
    window = side_of(LEVEL) if box is None else max(box[2] - box[0], box[3] - box[1])
    heats: tuple[Floats | None, Floats | None] = (None, None)
    if looking is not None:
        try:
            maps = [DenseMap.of(looking, each.picture, window) for each in (asked, hit)]
            heats = maps[0].agreement(matching, grain, window), maps[1].agreement(code, grain, window)
        except BundleError as error:  # its codes are not made of the features of a map
            notes = (*notes, f"{error.message}, {ONLY}")
    mapped = heats[1] is not None
    occlusion = None
    if not mapped or grain == library.grains.finest:
        occlusion = occluded(library.encoder, cropped.pixels, code, grain)
    bits = {each: (width - found.distances[each], width) for each, width in library.grains.items()}
    labels = [tuple(nearest_labels(library.bundle, own, LABELS)) for own in (code, matching)]
    sides = Side(name, asked.shown, labels[0], heats[0]), Side(found.path, hit.shown, labels[1], heats[1])
    return Why(*sides, found, bits, box, window if mapped else None, occlusion, notes)


def occluded(encoder: Encoder, pixels: Pixels, code: Codes, grain: str) -> NDArray[np.int64]:
    """(PATCHES, PATCHES): by how many bits the distance of a picture of the model's size to a code grows, with one
    patch of it after the other in its mean color."""
    height, width = pixels.shape[:2]
    rows, columns = (np.linspace(0, edge, PATCHES + 1).round().astype(int) for edge in (height, width))
    batch = np.repeat(pixels[None], PATCHES * PATCHES + 1, axis=0)
    mean = pixels.mean(axis=(0, 1)).round().astype(np.uint8)
    for row in range(PATCHES):
        for column in range(PATCHES):
            patch = batch[1 + row * PATCHES + column]
            patch[rows[row] : rows[row + 1], columns[column] : columns[column + 1]] = mean
    codes = encoder.codes(batch).at(grain)
    distances = np.bitwise_count(codes.words ^ code.at(grain).words).sum(axis=1, dtype=np.int64)
    return np.asarray(distances[1:] - distances[0], np.int64).reshape(PATCHES, PATCHES)


def drawn(why: Why) -> bytes:
    """The account as one picture, PNG."""
    grain = why.found.grain
    panels = [
        Panel("query: " + _file_name(why.query.name), why.query.pixels, _heat(why.query.agreement), _lines(why.query)),
        Panel("hit: " + _file_name(why.hit.name), why.hit.pixels, _heat(why.hit.agreement), _lines(why.hit), why.box),
    ]
    if why.occlusion is not None:
        most = max(1, int(why.occlusion.max()))
        heat = Heat(why.occlusion.astype(np.float32), 0, most, "+0 bits", f"+{most} bits", why.box)
        lines = [f"how many more bits of {grain} differ with a patch blank"]
        panels.append(Panel("hit, without a patch", why.hit.pixels, heat, lines, why.box))
    bits = [GrainBits(name, agree, of) for name, (agree, of) in why.bits.items()]
    word = f"{why.found.word}: " if why.found.word else ""
    part = "the whole picture" if why.box is None else "the part in the box"
    title = f"{word}score {why.found.score:.2f} at {grain}, by {part}"
    return draw_why(panels, bits, title, why.notes)


def _lines(side: Side) -> list[str]:
    return ["nearest: " + ", ".join(side.labels)] if side.labels else []


def _heat(agreement: Floats | None) -> Heat | None:
    """Two codes that have nothing in common agree in half of their bits: there the colors begin."""
    if agreement is None:
        return None
    high = max(0.5 + 1e-3, float(agreement.max()))
    return Heat(agreement, 0.5, high, "50 % of the bits", f"{high:.0%}")


def _file_name(path: str) -> str:
    return os.path.basename(path) or path


def _picture_asked_with(library: Library, query: QueryLike) -> tuple[str, Any]:
    """The name and the picture of a query. A path that is no file may be that of an item, as in an archive."""
    if isinstance(query, Codes):
        raise QueryError("a code is no picture: ask with the picture that it was made of")
    if isinstance(query, (int, np.integer)):
        item = library.item(int(query))
        return item.path, picture_of_item(item, library.path)
    if not isinstance(query, (str, os.PathLike)):
        return "picture", query
    if not os.path.exists(query):
        known = library.store.known(os.path.abspath(query)) or library.store.known(os.fspath(query))
        if known is not None:
            return known.path, picture_of_item(known, library.path)
    return os.fspath(query), query


def _found(library: Library, code: Codes, item: int, grain: str) -> Hit:
    """The item as a search finds it."""
    hits = library.search(code, k=1, grain=grain, where={"id": item})
    if not hits:  # it was removed just now
        raise ItemMissingError(f"no item {item} in {library.path}", path=library.path)
    return hits[0]


def _code_of(library: Library, found: Hit) -> Codes:
    """The code of what matched: of the whole, or of the part."""
    with library.store.snapshot(parts=True) as snapshot:
        words, _ = matched(snapshot, [found.id], [0 if found.part is None else found.part.index])
    return Codes(words, library.grains)


def _part_encoder(library: Library) -> tuple[PartEncoder | None, tuple[str, ...]]:
    """What looks at pictures as closely as for the library's parts; None for a model without a map, and why."""
    bundle, detail = library.bundle, detail_of(library.store.grid)
    if MAP not in bundle.outputs or bundle.fitted != "squash":
        return None, (f"the model {bundle.name!r} gives no map of a picture, {ONLY}",)
    notes: tuple[str, ...] = ()
    if detail is None and is_shipped(bundle):
        detail = detail_named(DEFAULT)
        notes = (f"the library has no parts made here: the pictures were looked at with detail {detail.name}",)
    elif not is_shipped(bundle):  # such graphs are not run at sizes of their own
        width, height = bundle.size
        if width != height:
            return None, (f"the model {bundle.name!r} takes no square pictures, {ONLY}",)
        detail = Detail(OWN, (Look(width, (2, 3)),))
    assert detail is not None
    return PartEncoder(library.encoder, detail), notes


def _looked_at(
    library: Library,
    query: tuple[str, Any],
    hit: tuple[str, Any],
    looking: PartEncoder | None,
    box: Box | None,
    max_pixels: int,
) -> tuple[_Looked, _Looked, Picture]:
    """Both pictures, and what matched of the hit, as a picture of its own."""
    fit, size = library.bundle.fitted, None if looking is None else looking.size
    pool = workers_of(library)

    def look(named: tuple[str, Any]) -> _Looked:
        picture = _opened(pool, named, size, None, max_pixels)
        if fit != "squash":  # what the model sees has another place in the picture, or is not all of it
            return _Looked(picture.pixels, picture)
        return _Looked(pool.shrunk(named[1], edge=EDGE, max_pixels=max_pixels).pixels, picture)

    asked, found = look(query), look(hit)
    return asked, found, found.picture if box is None else _opened(pool, hit, None, box, max_pixels)


def _opened(
    pool: DecodePool, named: tuple[str, Any], size: tuple[int, int] | None, box: Box | None, max_pixels: int
) -> Picture:
    ((name, picture),) = pool.open([named], detail=size, box=box, max_pixels=max_pixels)
    if isinstance(picture, ImageError):
        raise type(picture)(f"{name}: {picture.message.removeprefix('picture: ').removeprefix(f'{name}: ')}", path=name)
    return picture
