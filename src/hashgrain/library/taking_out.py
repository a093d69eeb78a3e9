"""Removing items so that they can be put back as they were: with their codes, parts and metadata."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hashgrain.codes import Words
from hashgrain.errors import LibraryError, OtherModelError
from hashgrain.library.selecting import named_ids
from hashgrain.sources import Refused
from hashgrain.store import Item, New, Parts

if TYPE_CHECKING:
    from hashgrain.library.library import Library


@dataclass(frozen=True, eq=False)
class TakenOut:
    """All that the library knew of an item."""

    item: Item
    code: Words
    parts: Parts | None
    digest: str  # of the model that made the code


def take_out(library: Library, items: Iterable[int]) -> list[TakenOut]:
    """Remove items: all, or none if one is missing. Their files stay, and are not added again by themselves."""
    with library.store.snapshot(parts=True) as snapshot:
        ids = named_ids(snapshot, library.path, items, "nothing was removed")
        known, codes, parts = snapshot.items(ids), snapshot.codes(ids), snapshot.parts_of(ids)
    library.remove(ids)
    digest = library.store.digest
    return [TakenOut(*each, digest) for each in zip(known, codes, parts, strict=True)]


def put_back(library: Library, taken: Sequence[TakenOut]) -> tuple[list[int], list[Refused]]:
    """Add items again as they were, in one commit. Returns their ids, which are new, since an id is given once, and
    what is not put back, with the reasons: what is in the library again, or has a code of another model."""
    refused, restored = [], []
    for each in taken:
        try:
            restored.append(_restored(library, each))
        except LibraryError as error:
            refused.append(Refused(each.item.path, error.message))
    ids = library.store.commit(restored)
    library.store.include([each.path for each in restored])
    return ids, refused


def _restored(library: Library, taken: TakenOut) -> New:
    item = taken.item
    if taken.digest != library.store.digest:
        raise OtherModelError(f"{item.path} has a code of another model; add its file again", path=library.path)
    if library.store.known(item.path) is not None:
        raise LibraryError(f"{item.path} is in the library again", path=library.path)
    stamp = None if item.size is None or item.mtime_ns is None else (item.size, item.mtime_ns)
    facts = (item.width, item.height, item.format, item.taken)
    return New(item.path, item.content, stamp, *facts, taken.code, item.meta, item.details, taken.parts)
