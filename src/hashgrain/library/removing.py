"""Taking items out of a library."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from hashgrain.errors import LibraryError
from hashgrain.library.selecting import ItemRef, selected
from hashgrain.store import Snapshot, Store


def remove_items(store: Store, items: Iterable[ItemRef], *, forget: bool) -> int:
    """Remove items by id or by path: all that are named, or none. Their files are kept out unless `forget`."""
    with store.snapshot() as snapshot:
        ids = selected(snapshot, Path(store.path), items, "nothing was removed")
        files = _files(snapshot, ids)
    if forget:
        store.include(files)
    else:
        store.exclude(files)  # first: a file that is in the library is not kept out of it
    return store.remove(ids)


def _files(snapshot: Snapshot, ids: Sequence[int]) -> list[str]:
    """The paths by which these items could come back: those of files. Pictures given as objects are given anew."""
    try:
        items = snapshot.items(ids)
    except LibraryError:  # of one that is damaged, the path is not to be believed
        items = []
        for each in ids:
            with suppress(LibraryError):
                items += snapshot.items([each])
    return [item.path for item in items if item.size is not None]
