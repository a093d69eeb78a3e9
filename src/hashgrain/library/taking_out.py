"""Removing an item so that it can be put back as it was: with its code, its parts and its metadata."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hashgrain.codes import Words
from hashgrain.errors import ItemMissingError, LibraryError, OtherModelError
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


def take_out(library: Library, item: int) -> TakenOut:
    """Remove an item. Its file stays, and is not added again by itself."""
    with library.store.snapshot(parts=True) as snapshot:
        known, code = snapshot.item(item), snapshot.code(item)
        (parts,) = snapshot.parts_of([item])
    if known is None or code is None:
        raise ItemMissingError(f"no item {item} in {library.path}", path=library.path)
    library.remove([item])
    return TakenOut(known, code, parts, library.store.digest)


def put_back(library: Library, taken: TakenOut) -> Item:
    """Add the item again as it was. It has a new id, since an id is given once."""
    item = taken.item
    if taken.digest != library.store.digest:
        raise OtherModelError(f"{item.path} has a code of another model; add its file again", path=library.path)
    if library.store.known(item.path) is not None:
        raise LibraryError(f"{item.path} is in the library again", path=library.path)
    stamp = None if item.size is None or item.mtime_ns is None else (item.size, item.mtime_ns)
    facts = (item.width, item.height, item.format, item.taken)
    restored = New(item.path, item.content, stamp, *facts, taken.code, item.meta, item.details, taken.parts)
    (number,) = library.store.commit([restored])
    library.store.include([item.path])
    return library.item(number)
