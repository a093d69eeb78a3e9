"""Taking items out of a library."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from hashgrain.library.selecting import Named, selected
from hashgrain.store import Store


def remove_items(store: Store, items: Iterable[Named]) -> int:
    """Remove items by id or by path: all that are named, or none."""
    with store.snapshot() as snapshot:
        ids = selected(snapshot, Path(store.path), items, "nothing was removed")
    return store.remove(ids)
