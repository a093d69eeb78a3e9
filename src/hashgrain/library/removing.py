"""Removing items from a library."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from hashgrain.errors import LibraryError
from hashgrain.library.selecting import ItemRef, named_ids
from hashgrain.store import Snapshot, Store


def remove_items(store: Store, items: Iterable[ItemRef], *, forget: bool) -> int:
    """Remove items by id or by path: all that are named, or none. Their files are kept out unless `forget`."""
    with store.snapshot() as snapshot:
        ids = named_ids(snapshot, Path(store.path), items, "nothing was removed")
        files = _files(snapshot, ids)
    if forget:
        store.include(files)
    else:
        store.exclude(files)  # before the removal: an exclusion has no effect while the item exists
    return store.remove(ids)


def _files(snapshot: Snapshot, ids: Sequence[int]) -> list[str]:
    """The paths by which `add` could find these items again: those of files, not those of Python objects."""
    try:
        items = snapshot.items(ids)
    except LibraryError:  # the path of a damaged item is not trusted
        items = []
        for each in ids:
            with suppress(LibraryError):
                items += snapshot.items([each])
    return [item.path for item in items if item.size is not None]
