"""Looking again at every file of a library."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from hashgrain.library.reading import is_gone
from hashgrain.sources import file_of
from hashgrain.store import Item, Store


def files_of(store: Store) -> list[Item]:
    """The items that came from a file, or from inside one, by path."""
    with store.snapshot() as snapshot:
        return [item for item in snapshot.paths() if item.size is not None]


def present(items: Sequence[Item]) -> Iterator[Path]:
    """The files that are there. What is inside archives and tables is looked at when they are added again."""
    return (Path(item.path) for item in items if file_of(item.path) == item.path and not is_gone(item.path))


def gone_of(store: Store, items: Sequence[Item]) -> list[Item]:
    """Those whose file is gone; asked anew, since some may have been moved."""
    with store.snapshot() as snapshot:
        return [item for item in snapshot.items([item.id for item in items]) if is_gone(item.path)]
