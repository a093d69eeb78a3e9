"""Giving the items of a library parts, and taking them away. A library holds parts of one detail, known by its grid."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field

import numpy as np

from hashgrain.codes import Words
from hashgrain.errors import ImageError, LibraryError, Remedy
from hashgrain.library.reading import read, reason_of
from hashgrain.media import DecodePool, Picture, open_picture
from hashgrain.models import Bundle, Encoder
from hashgrain.models.bundle import is_shipped
from hashgrain.models.description import MAP, Window
from hashgrain.models.detail import DEFAULT, Detail, detail_named, detail_of
from hashgrain.models.detector import Detector
from hashgrain.models.parts import PartEncoder, detail_pixels
from hashgrain.sources import Refused, reopen
from hashgrain.store import Item, Parts, PartsReplaced, Store

BATCH = 64  # items a commit


@dataclass
class PartsReport:
    """The result of adding or dropping parts: how many items have other parts, and the files that could not be used."""

    changed: int = 0
    refused: list[Refused] = field(default_factory=list)
    detected: int = 0  # boxes that a detector found

    @property
    def seen(self) -> int:
        return self.changed + len(self.refused)


@dataclass(frozen=True)
class PartsInfo:
    """Which parts a library has."""

    items: int  # how many items have any
    detail: str | None  # at which their pictures were looked at; None for none, or for parts of another program
    parts: int | None  # how many an item has that was looked at so


@dataclass
class PartMaker:
    """Makes the parts of new pictures: the windows of the library's grid, and what a detector finds."""

    encoder: Encoder
    part_encoder: PartEncoder
    detector: Detector | None = None
    detected: int = 0  # boxes found so far

    @property
    def size(self) -> tuple[int, int]:
        """Of the larger pictures that it takes: width, height."""
        return self.part_encoder.size

    def parts(self, pictures: Iterable[Picture]) -> Iterator[Parts]:
        """Yield the parts of pictures that are open at both sizes, in order."""
        again, seen = itertools.tee(pictures)
        for picture, words in zip(again, self.part_encoder.words(seen), strict=True):
            boxes = self.detector.boxes(detail_pixels(picture)) if self.detector else []
            if not boxes:
                yield Parts(words)
                continue
            self.detected += len(boxes)
            grid = np.array(self.part_encoder.detail.windows, np.float32)
            found = np.array(boxes, np.float32)
            yield Parts(np.concatenate([words, self._codes(picture, boxes)]), np.concatenate([grid, found]))

    def _codes(self, picture: Picture, boxes: Sequence[Window]) -> Words:
        """A box that was found is encoded as a picture of its own, since no window has its shape."""
        pixels = detail_pixels(picture)
        height, width = pixels.shape[:2]
        crops = []
        for left, top, right, bottom in boxes:
            x, y = int(left * width), int(top * height)
            crop = pixels[y : max(y + 1, math.ceil(bottom * height)), x : max(x + 1, math.ceil(right * width))]
            crops.append(open_picture(crop, size=self.encoder.bundle.size).pixels)
        return self.encoder.codes(np.stack(crops)).words


PartsProgress = Callable[[PartsReport], None]


def has_parts(bundle: Bundle) -> bool:
    """Whether a model can give codes of parts."""
    return bool(bundle.onnx) and MAP in bundle.outputs and bundle.fitted == "squash"


def detail_for(store: Store, bundle: Bundle, detail: str | None) -> Detail | None:
    """The detail of the parts of new pictures: that of the library's parts; for an empty library the given one or the
    default. None for no parts: if the model gives none, or if the library has items without parts and no detail is
    given."""
    wanted = None if detail is None else detail_named(detail)
    if not has_parts(bundle):
        if wanted is None:
            return None
        raise LibraryError(f"{store.path}: its model {bundle.name!r} gives no codes of parts", path=store.path)
    if store.grid is None:
        with store.snapshot() as snapshot:
            fits = not len(snapshot) and is_shipped(bundle)  # other graphs are not run at sizes of their own
        return wanted or (detail_named(DEFAULT) if fits else None)
    own = detail_of(store.grid)
    if wanted not in (None, own):
        has = "parts of another program" if own is None else f"parts of detail {own.name}"
        remedy = Remedy("drop its parts first", "drop_parts", library=store.path)
        raise LibraryError(f"{store.path} has {has}, not {detail}", path=store.path, remedy=remedy)
    return own


def part_maker_for(store: Store, encoder: Encoder, detail: str | None, detector: str | None = None) -> PartMaker | None:
    """What makes the parts of new pictures. It sets the grid of a library that has none."""
    chosen = detail_for(store, encoder.bundle, detail)
    if chosen is None:
        if detector is None:
            return None
        if not has_parts(encoder.bundle):
            message = f"{store.path}: its model {encoder.bundle.name!r} gives no codes of parts"
        else:
            message = f"{store.path}: its pictures have no parts, which those that a detector finds would join"
        remedy = Remedy("give its pictures parts first", "add_parts", library=store.path)
        raise LibraryError(message, path=store.path, remedy=remedy)
    finder = None if detector is None else Detector(detector, encoder.threads)
    part_encoder = PartEncoder(encoder, chosen)  # raises if the graph is not run at this size
    if store.grid is None:
        store.set_grid(chosen.windows)
    return PartMaker(encoder, part_encoder, finder)


def add_parts(
    store: Store,
    encoder: Encoder,
    pool: DecodePool,
    detail: str | None,
    *,
    detector: str | None = None,
    max_pixels: int,
    progress: PartsProgress | None = None,
) -> PartsReport:
    """Give parts to every item that has none and whose file is there, unchanged. Each batch is durable."""
    maker = part_maker_for(store, encoder, detail or (DEFAULT if store.grid is None else None), detector)
    if maker is None:
        raise LibraryError(f"{store.path}: its parts come from another program", path=store.path)
    report = PartsReport()
    decoded: list[tuple[int, Picture]] = []

    def commit() -> None:
        made = maker.parts(picture for _, picture in decoded)
        store.commit([PartsReplaced(item, parts) for (item, _), parts in zip(decoded, made, strict=True)])
        report.changed += len(decoded)
        report.detected = maker.detected
        decoded.clear()
        if progress:
            progress(report)

    files = _files(store, report.refused)
    with closing(pool.decode(files, max_pixels=max_pixels, detail=maker.size)) as pictures:  # type: ignore[type-var]
        for item, picture in pictures:
            if isinstance(picture, ImageError):
                report.refused.append(Refused(item.path, reason_of(picture)))
            else:
                decoded.append((item.id, picture))
                if len(decoded) == BATCH:
                    commit()
    commit()
    return report


def drop_parts(store: Store, progress: PartsProgress | None = None) -> PartsReport:
    """Take the parts of every item away, and the grid they lie on."""
    report = PartsReport()
    with store.snapshot() as snapshot:
        ids = snapshot.with_parts().tolist()
    for start in range(0, len(ids), BATCH * BATCH):
        some = ids[start : start + BATCH * BATCH]
        store.commit([PartsReplaced(item, None) for item in some])
        report.changed += len(some)
        if progress:
            progress(report)
    if store.grid is not None:
        store.set_grid(None)
    return report


def parts_info(store: Store) -> PartsInfo:
    with store.snapshot() as snapshot:
        items = len(snapshot.with_parts())
    detail = detail_of(store.grid)
    return PartsInfo(items, None if detail is None else detail.name, None if store.grid is None else len(store.grid))


def _files(store: Store, refused: list[Refused]) -> Iterator[tuple[Item, bytes]]:
    """The items without parts, and the bytes of their files."""
    with store.snapshot() as snapshot:
        parted = set(snapshot.with_parts().tolist())
        items = [item for item in snapshot.paths() if item.id not in parted]
    for item in items:
        try:
            content, data, _ = read(reopen(item))
        except (ImageError, OSError) as error:
            refused.append(Refused(item.path, reason_of(error)))
            continue
        if content != item.content:
            refused.append(Refused(item.path, "its file has changed since it was added; add it again"))
        else:
            yield item, data
