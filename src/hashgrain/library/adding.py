"""Adding pictures: find, recognise, decode, encode, commit, batch by batch.

While one batch is encoded, the pictures of the next are read and decoded. Stopped at any moment, by Ctrl-C or by a
power cut, the library holds whole batches. Adding the same sources again skips what is there, so what is lost is the
batch that was being encoded, and what was decoded of the next.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from hashgrain.codes import Words
from hashgrain.errors import ImageError, LibraryError
from hashgrain.library.adding_parts import PartMaker
from hashgrain.library.metadata import check_meta, differ, merged, sound_details
from hashgrain.library.reading import is_gone, read, reason_of
from hashgrain.library.report import AddReport, Progress
from hashgrain.library.skipped_files import Memory, Stamp, limits_told, stamp_inside
from hashgrain.media import DecodePool, Facts, Picture
from hashgrain.models import Encoder
from hashgrain.sources import Refused, Source, find
from hashgrain.store import Item, MetaReplaced, Moved, New, Parts, Replaced, Store, Touched
from hashgrain.store.items import encode_path

BATCH = 64  # pictures encoded and committed at once at most: what one sync to disk is shared by
SECONDS = 5.0  # after which fewer are, so that a stop costs little on a slow machine, too
MAX_SETTLED = 1_000  # changes without encoding that may wait for a commit
MAX_TIME = 2**63 - 1  # the largest number in a catalogue: some file systems know years past 2262


@dataclass(frozen=True)
class _Waiting:
    """A picture on its way through the decoder."""

    source: Source
    content: str
    known: Item | None
    facts: Facts | None  # of Python objects, which travel to the decoder in another form


def check_sources(sources: Any, meta: Mapping[str, Any] | None = None) -> None:
    """Raise what `add_sources` would raise before reading anything: do it before a library is made."""
    check_meta(meta)
    find(sources)


def add_sources(
    store: Store,
    encoder: Encoder,
    sources: Any,
    pool: DecodePool,
    *,
    ignore: Sequence[str] = (),
    meta: Mapping[str, Any] | None = None,
    retry: bool = False,
    again: bool = False,
    max_pixels: int,
    progress: Progress | None = None,
    part_maker: PartMaker | None = None,
) -> AddReport:
    """Bring a library in line with sources. Returns when everything is durable. With a `part_maker`, new pictures
    have parts."""
    memory = Memory(store, retry=retry, again=again, limits=limits_told(max_pixels, pool.workers))
    detail = None if part_maker is None else part_maker.size
    started = time.monotonic()
    with ThreadPoolExecutor(1, thread_name_prefix="hashgrain-encode") as network:
        adding = _Adding(store, encoder, network, memory, check_meta(meta), progress, part_maker)
        found = find(sources, ignore=ignore, passed=adding.report.passed)
        unknown = adding.unknown(found)
        with closing(pool.decode(unknown, max_pixels=max_pixels, detail=detail)) as decoded:  # type: ignore[type-var]
            for waiting, picture in decoded:
                adding.take(waiting, picture)
        adding.encode()
        adding.commit()
    adding.report.seconds = round(time.monotonic() - started, 3)
    return adding.report


@dataclass(frozen=True)
class _Encoding:
    """A batch that the network has."""

    pictures: list[tuple[_Waiting, Picture]]
    unique: list[str]  # the contents that are encoded, each once
    codes: Future[list[tuple[Words, Parts | None]]]


class _Adding:
    """The state of one run: what waits for the encoder, what waits for the commit, the report so far."""

    def __init__(
        self,
        store: Store,
        encoder: Encoder,
        network: ThreadPoolExecutor,
        memory: Memory,
        meta: dict[str, Any],
        progress: Progress | None,
        part_maker: PartMaker | None,
    ) -> None:
        self.store = store
        self.encoder = encoder
        self.network = network  # one thread
        self.part_maker = part_maker
        self.memory = memory
        self.meta = meta
        self.progress = progress
        self.report = AddReport()
        self.decoding: dict[str, str] = {}  # path -> content, of what is on its way through the decoder
        self.uncommitted: dict[str, str] = {}  # path -> content, of what was recognised and waits for the commit
        self.decoded: list[tuple[_Waiting, Picture]] = []
        self.encoding: _Encoding | None = None
        self.settled: list[New | Replaced | Moved | Touched] = []
        self.noted: dict[int, MetaReplaced] = {}  # committed after the others: one change of an item a batch
        self.moved_ids: set[int] = set()
        self.begun = time.monotonic()  # when the batch that is being decoded was

    def unknown(self, found: Iterator[Source | Refused]) -> Iterator[tuple[_Waiting, bytes]]:
        """Settle what can be settled without looking at pixels; pass on the rest with its bytes."""
        for each in found:
            if isinstance(each, Refused):
                self._refuse_found(each)
                continue
            source = _fitting(each)
            try:
                known = self._known(source.path)
                if self._settled_by_name(source, known):
                    continue
                content, data, facts = read(source)
            except (ImageError, OSError) as error:
                self._refuse(source.path, source.stamp, error)
                continue
            if self._comes_twice(source.path, content):
                continue
            if self._recognise(source, content, known):
                self.uncommitted[source.path] = content
                self.memory.could_be_read(source.path)
                self._commit_if_many()
            else:
                self.decoding[source.path] = content
                yield _Waiting(source, content, known, facts), data

    def take(self, waiting: _Waiting, picture: Picture | ImageError) -> None:
        if isinstance(picture, ImageError):
            del self.decoding[waiting.source.path]
            self._refuse(waiting.source.path, waiting.source.stamp, picture)
            return
        self.decoded.append((waiting, picture))
        if len(self.decoded) >= BATCH or time.monotonic() - self.begun >= SECONDS:
            self.encode()
        elif self.encoding is not None and self.encoding.codes.done():
            self.commit()

    def encode(self) -> None:
        """Hand what is decoded to the network, each content once, after committing what it had before."""
        if not self.decoded:
            return
        if self.encoding is not None:
            self.commit()
        unique = {waiting.content: picture for waiting, picture in self.decoded}
        codes = self.network.submit(self._codes, list(unique.values()))
        self.encoding = _Encoding(self.decoded, list(unique), codes)
        self.decoded = []
        self.begun = time.monotonic()

    def commit(self) -> None:
        """Make durable what is settled, and what the network has, once it is encoded."""
        if self.encoding is not None:
            self._settle_encoded(self.encoding)
            self.encoding = None
        self.store.commit(self.settled)
        self.store.commit(list(self.noted.values()))
        self.memory.write()
        self.settled, self.noted, self.uncommitted = [], {}, {}
        self.moved_ids.clear()
        self._tell()

    def _settle_encoded(self, batch: _Encoding) -> None:
        codes_of = dict(zip(batch.unique, batch.codes.result(), strict=True))
        for waiting, picture in batch.pictures:
            facts = waiting.facts or picture.facts
            self._settle(waiting.source, waiting.content, waiting.known, facts, *codes_of[waiting.content])
            del self.decoding[waiting.source.path]
            self.memory.could_be_read(waiting.source.path)
        self.report.encoded += len(batch.unique)
        self.report.detected = 0 if self.part_maker is None else self.part_maker.detected
        self.report.duplicates += len(batch.pictures) - len(batch.unique)

    def _codes(self, pictures: Sequence[Picture]) -> list[tuple[Words, Parts | None]]:
        """The code of each picture, and those of its parts. Runs in a thread of its own."""
        words = self.encoder.codes(np.stack([picture.pixels for picture in pictures])).words
        if self.part_maker is None:
            return [(code, None) for code in words]
        return list(zip(words, self.part_maker.parts(pictures), strict=True))

    def _commit_if_many(self) -> None:
        if len(self.settled) + len(self.noted) >= MAX_SETTLED:
            self.commit()

    def _known(self, path: str) -> Item | None:
        try:
            encode_path(path)
        except LibraryError as error:
            raise ImageError(str(error)) from None
        return self.store.known(path)

    def _settled_by_name(self, source: Source, known: Item | None) -> bool:
        """Whether name, size and time say all there is to say, so that the file need not be read."""
        if known is None and self.memory.keeps_out(source.path):
            self.report.kept_out += 1
        elif known and source.stamp is not None and source.stamp == (known.size, known.mtime_ns):
            self.report.unchanged += 1
            self._note(known, {})  # its notes were read with it; since then a person may have changed them
            self._commit_if_many()
        elif self.memory.knows_refused(source.path, source.stamp):
            self.report.known_refused += 1
        else:
            return False
        self._tell()
        return True

    def _refuse(self, path: str, stamp: Stamp | None, error: ImageError | OSError) -> None:
        self.report.refused.append(Refused(path, reason_of(error)))
        self.memory.refuse(path, stamp, error)

    def _refuse_found(self, found: Refused) -> None:
        """What was refused before there was a source: a file the system withholds, a part of an archive."""
        stamp = stamp_inside(found.path)
        if self.memory.keeps_out(found.path):
            self.report.kept_out += 1
        elif self.memory.knows_refused(found.path, stamp):
            self.report.known_refused += 1
        else:
            self.report.refused.append(found)
            self.memory.refuse(found.path, stamp, found.reason)

    def _comes_twice(self, path: str, content: str) -> bool:
        """Whether the name is under way already: given twice, or twice in an archive. The first one counts."""
        first = self.decoding.get(path) or self.uncommitted.get(path)
        if first is None:
            return False
        if first == content:
            self.report.unchanged += 1
        else:
            self.report.refused.append(Refused(path, "another picture of this name comes before it, and was taken"))
        return True

    def _recognise(self, source: Source, content: str, known: Item | None) -> bool:
        """Whether the content is in the library already, under this name or another."""
        if known and known.content == content:
            self.settled.append(Touched(known.id, source.stamp))
            self.report.touched += 1
            self._note(known, source.meta)
            return True
        twins = [item for item in self.store.by_content(content) if item.id not in self.moved_ids]
        if not twins:
            return False
        gone = [item for item in twins if item.size is not None and is_gone(item.path)]
        if gone and not known:
            mover = best_match(gone, source.path)
            self.settled.append(Moved(mover.id, source.path, source.stamp))
            self.moved_ids.add(mover.id)
            self.report.moved += 1
            self._note(mover, source.meta)
            return True
        twin = twins[0]
        with self.store.snapshot() as snapshot:
            code = snapshot.code(twin.id)
            (parts,) = snapshot.parts_of([twin.id])
        if code is None:
            return False
        facts = Facts(twin.width, twin.height, twin.format, twin.taken, twin.details)
        self._settle(source, content, known, facts, code, parts)
        self.report.duplicates += 1
        return True

    def _settle(
        self,
        source: Source,
        content: str,
        known: Item | None,
        facts: Facts,
        code: Any,
        parts: Parts | None = None,
    ) -> None:
        fields: dict[str, Any] = {
            "path": source.path,
            "content": content,
            "stamp": source.stamp,
            "width": facts.width,
            "height": facts.height,
            "format": facts.format,
            "taken": facts.taken,
            "details": sound_details(facts.details, source.path),
            "meta": self._merged(known.meta if known else {}, source.meta, source.path),
            "code": code,
            "parts": parts,
        }
        if known:
            self.settled.append(Replaced(id=known.id, **fields))
            self.report.replaced += 1
        else:
            self.settled.append(New(**fields))
            self.report.added += 1

    def _note(self, known: Item, notes: Mapping[str, Any]) -> None:
        """Bring the metadata of a picture that is there already up to date."""
        if not notes and not self.meta:
            return
        meta = self._merged(known.meta, notes, known.path)
        if differ(known.meta, meta):
            self.noted[known.id] = MetaReplaced(known.id, meta)
            self.report.noted += 1

    def _merged(self, known: Mapping[str, Any], notes: Mapping[str, Any], path: str) -> dict[str, Any]:
        meta, reason = merged(known, notes, self.meta, path)
        if reason is not None:
            self.report.notes_refused.append(Refused(path, reason))
        return meta

    def _tell(self) -> None:
        if self.progress:
            self.progress(self.report)


def best_match(gone: Sequence[Item], path: str) -> Item:
    """Of pictures whose file is gone, all of the same content, the one a file at `path` was: by its name, then id."""
    name = os.path.basename(path)
    return min(gone, key=lambda item: (os.path.basename(item.path) != name, item.id))


def _fitting(source: Source) -> Source:
    """The source with a stamp that the catalogue can hold."""
    if source.stamp is None or -MAX_TIME <= source.stamp[1] <= MAX_TIME:
        return source
    return replace(source, stamp=(source.stamp[0], max(-MAX_TIME, min(source.stamp[1], MAX_TIME))))
