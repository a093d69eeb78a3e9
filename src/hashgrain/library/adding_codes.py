"""Codes that come without pictures become items of a library: all of them in one commit, or none."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hashgrain.codefiles import codes_of
from hashgrain.codes import Codes
from hashgrain.errors import ImageError, LibraryError, Remedy
from hashgrain.files import read_regular
from hashgrain.library.metadata import check_meta, merged, sound_details
from hashgrain.media import DecodePool, Facts
from hashgrain.media.formats import MAX_BYTES
from hashgrain.store import Item, New, Replaced, Store
from hashgrain.store.items import encode_path

UNKNOWN = Facts(0, 0, "", None)  # of an item without a file, or with a file that is no picture
FEW = 100  # up to so many paths are looked up one by one
Change = New | Replaced


@dataclass(frozen=True)
class _Seen:
    """What a path leads to: content, size and time of a file that can be read, and what it says of itself, where it is
    a picture."""

    content: str | None = None
    stamp: tuple[int, int] | None = None
    facts: Facts = UNKNOWN


@dataclass(frozen=True)
class ImportReport:
    """What became of the codes."""

    added: int
    replaced: int
    files: int  # items whose path is an existing file: they have its size and the facts of its picture

    @property
    def codes(self) -> int:
        return self.added + self.replaced


def import_codes(
    store: Store,
    codes: Codes | ArrayLike,
    paths: Sequence[str],
    pool: DecodePool,
    *,
    replace: bool = False,
    look: bool = True,
    meta: Mapping[str, Any] | None = None,
) -> ImportReport:
    """Add the codes under their paths in one commit. With `replace`, existing items get new codes. With `look`, the
    pool reads the headers of the files."""
    if not isinstance(codes, Codes):
        codes = codes_of(np.asarray(codes), store.grains)
    if codes.grains != store.grains:
        raise LibraryError(f"{store.path} takes codes with {store.grains}, not with {codes.grains}", path=store.path)
    named = checked_paths(paths, len(codes), look)
    notes = check_meta(meta)
    known = _known(store, named)
    if known and not replace:
        remedy = Remedy("with replace=True, what is there gets its new code", "replace")
        message = f"{min(known)} is in {store.path} already; nothing was imported"
        raise LibraryError(message, path=store.path, remedy=remedy)
    seen = _look(named, pool) if look else (_Seen() for _ in named)
    batch = [
        _change(known.get(path), path, word, notes, each)
        for path, word, each in zip(named, codes.words, seen, strict=True)
    ]
    store.commit(batch)
    back = set(named).intersection(store.exclusions())
    if back:
        store.include(back)
    added = sum(isinstance(change, New) for change in batch)
    return ImportReport(added, len(batch) - added, sum(change.stamp is not None for change in batch))


def checked_paths(paths: Sequence[str], codes: int, look: bool) -> list[str]:
    """The paths as they are stored: absolute for a file, as `add` stores it, and any other text unchanged."""
    if len(paths) != codes:
        raise LibraryError(f"{codes} codes take as many paths, not {len(paths)}")
    if not codes:
        raise LibraryError("there are no codes to import")
    named: dict[str, int] = {}
    for line, path in enumerate(paths, 1):
        if not path:
            raise LibraryError(f"path {line} of {codes} is empty; each code takes one")
        encode_path(path)
        full = os.path.abspath(path) if look and os.path.isfile(path) else path
        if full in named:
            raise LibraryError(
                f"{path} is the path of two codes, {named[full]} and {line}: an item has one. Leave one of them out",
                path=path,
            )
        named[full] = line
    return list(named)


def _change(known: Item | None, path: str, code: NDArray[np.uint64], meta: Mapping[str, Any], seen: _Seen) -> Change:
    facts = seen.facts
    fields: dict[str, Any] = {
        "path": path,
        "content": seen.content or _content_without_file(path),
        "stamp": seen.stamp,
        "width": facts.width,
        "height": facts.height,
        "format": facts.format,
        "taken": facts.taken,
        "details": sound_details(facts.details, path) if facts.details else {},
        "code": code,
    }
    if known is None:
        return New(**fields, meta=meta)
    merged_meta, reason = merged(known.meta, {}, meta, path)
    if reason is not None:
        raise LibraryError(f"{path}: {reason}", path=path)
    return Replaced(id=known.id, **fields, meta=merged_meta)


def _known(store: Store, paths: Sequence[str]) -> dict[str, Item]:
    """The existing items of these paths. For many, one pass over the library costs less than a lookup for each."""
    if len(paths) <= FEW:
        items = {path: store.known(path) for path in paths}
        return {path: item for path, item in items.items() if item is not None}
    wanted = set(paths)
    with store.snapshot() as snapshot:
        return {item.path: item for item in snapshot.paths() if item.path in wanted}


def _look(paths: Sequence[str], pool: DecodePool) -> Iterator[_Seen]:
    """What each path leads to, in order."""
    for seen, facts in pool.facts(map(_read, paths)):
        yield seen if isinstance(facts, ImageError) else replace(seen, facts=facts)


def _read(path: str) -> tuple[_Seen, bytes | ImageError]:
    try:
        status = os.stat(path)
        data = read_regular(path, MAX_BYTES)
    except (OSError, ValueError) as error:
        return _Seen(), ImageError(str(error), path=path)
    return _Seen(hashlib.sha256(data).hexdigest(), (status.st_size, status.st_mtime_ns)), data


def _content_without_file(path: str) -> str:
    """A hash that no other item has: items with equal hashes count as copies of one another."""
    return hashlib.sha256(b"no file of a picture\0" + encode_path(path)).hexdigest()
