"""Adding pictures: find, recognise, decode, encode, commit; each batch durable before the next.

Stopped at any moment, by Ctrl-C or by a power cut, the library holds whole batches. Adding the same sources
again skips what is there, so at most one batch of encoding is lost.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hashgrain.encoder import Encoder
from hashgrain.errors import ImageError
from hashgrain.images import DecodePool, Facts, Picture
from hashgrain.library.reading import is_gone, read, reason_of
from hashgrain.library.report import AddReport, Progress
from hashgrain.sources import Refused, Source, find
from hashgrain.store import Item, Moved, New, Replaced, Store, Touched

BATCH = 64  # pictures a commit: what a crash may cost, and what one sync to disk is shared by
MAX_SETTLED = 1_000  # changes without encoding that may wait for a commit


@dataclass(frozen=True)
class _Waiting:
    """A picture on its way through the decoder."""

    source: Source
    content: str
    known: Item | None
    facts: Facts | None  # of Python objects, which travel to the decoder in another form


def add_sources(
    store: Store,
    encoder: Encoder,
    sources: Any,
    *,
    ignore: Sequence[str] = (),
    meta: Mapping[str, Any] | None = None,
    workers: int,
    max_pixels: int,
    progress: Progress | None = None,
) -> AddReport:
    """Bring a library in line with sources. Returns when everything is durable."""
    adding = _Adding(store, encoder, dict(meta or {}), progress)
    started = time.monotonic()
    with DecodePool(encoder.bundle.size, workers=workers, max_pixels=max_pixels) as pool:
        for waiting, picture in pool.decode(adding.unknown(find(sources, ignore=ignore))):
            adding.take(waiting, picture)
    adding.commit()
    adding.report.seconds = round(time.monotonic() - started, 3)
    return adding.report


class _Adding:
    """The state of one run: what waits for the encoder, what waits for the commit, the report so far."""

    def __init__(self, store: Store, encoder: Encoder, meta: dict[str, Any], progress: Progress | None) -> None:
        self.store = store
        self.encoder = encoder
        self.meta = meta
        self.progress = progress
        self.report = AddReport()
        self.decoded: list[tuple[_Waiting, Picture]] = []
        self.settled: list[New | Replaced | Moved | Touched] = []
        self.moved_ids: set[int] = set()

    def unknown(self, found: Iterator[Source | Refused]) -> Iterator[tuple[_Waiting, bytes]]:
        """Settle what can be settled without looking at pixels; pass on the rest with its bytes."""
        for source in found:
            if isinstance(source, Refused):
                self.report.refused.append(source)
                continue
            known = self.store.known(source.path)
            if known and source.stamp is not None and source.stamp == (known.size, known.mtime_ns):
                self.report.unchanged += 1
                self._tell()
                continue
            try:
                content, data, facts = read(source)
            except (ImageError, OSError) as error:
                self.report.refused.append(Refused(source.path, reason_of(error)))
                continue
            if not self._recognise(source, content, known):
                yield _Waiting(source, content, known, facts), data
            elif len(self.settled) >= MAX_SETTLED:
                self.commit()

    def take(self, waiting: _Waiting, picture: Picture | ImageError) -> None:
        if isinstance(picture, ImageError):
            self.report.refused.append(Refused(waiting.source.path, reason_of(picture)))
            return
        self.decoded.append((waiting, picture))
        if len(self.decoded) >= BATCH:
            self.commit()

    def commit(self) -> None:
        """Encode what is decoded, each content once, and make the batch durable."""
        unique = {waiting.content: picture.pixels for waiting, picture in self.decoded}
        codes = self.encoder.codes(np.stack(list(unique.values()))).words if unique else ()
        code_of = dict(zip(unique, codes, strict=True))
        for waiting, picture in self.decoded:
            facts = waiting.facts or picture.facts
            self._settle(waiting.source, waiting.content, waiting.known, facts, code_of[waiting.content])
        if self.settled:
            self.store.commit(self.settled)
        self.report.encoded += len(unique)
        self.report.duplicates += len(self.decoded) - len(unique)
        self.decoded, self.settled = [], []
        self.moved_ids.clear()
        self._tell()

    def _recognise(self, source: Source, content: str, known: Item | None) -> bool:
        """Whether the content is in the library already, under this name or another."""
        if known and known.content == content:
            self.settled.append(Touched(known.id, source.stamp))
            self.report.touched += 1
            return True
        twins = [item for item in self.store.by_content(content) if item.id not in self.moved_ids]
        if not twins:
            return False
        gone = [item for item in twins if item.size is not None and is_gone(item.path)]
        if gone and not known:
            self.settled.append(Moved(gone[0].id, source.path, source.stamp))
            self.moved_ids.add(gone[0].id)
            self.report.moved += 1
            return True
        twin = twins[0]
        with self.store.snapshot() as snapshot:
            code = snapshot.code(twin.id)
        if code is None:
            return False
        facts = Facts(twin.width, twin.height, twin.format, twin.taken)
        self._settle(source, content, known, facts, code)
        self.report.duplicates += 1
        return True

    def _settle(self, source: Source, content: str, known: Item | None, facts: Facts, code: Any) -> None:
        fields: dict[str, Any] = {
            "path": source.path,
            "content": content,
            "stamp": source.stamp,
            "width": facts.width,
            "height": facts.height,
            "format": facts.format,
            "taken": facts.taken,
            "meta": {**(known.meta if known else {}), **source.meta, **self.meta},
            "code": code,
        }
        if known:
            self.settled.append(Replaced(id=known.id, **fields))
            self.report.replaced += 1
        else:
            self.settled.append(New(**fields))
            self.report.added += 1

    def _tell(self) -> None:
        if self.progress:
            self.progress(self.report)
