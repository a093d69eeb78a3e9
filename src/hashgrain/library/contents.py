"""What a library holds: its items, their codes, and its counts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from hashgrain.codes import Codes
from hashgrain.errors import ItemMissingError
from hashgrain.library import models
from hashgrain.library.indexing import Indexing
from hashgrain.models import Bundle
from hashgrain.store import Item, Snapshot, Store

if TYPE_CHECKING:
    from hashgrain.library.selecting import ItemRef
    from hashgrain.sources import Refused
    from hashgrain.types import JsonLike, WhereLike


def item_of(store: Store, item: int) -> Item:
    with store.snapshot() as snapshot:
        known = snapshot.item(item)
    if known is None:
        raise ItemMissingError(f"no item {item} in {store.path}", path=store.path)
    return known


def items_of(store: Store, named: Iterable[ItemRef] | None, where: WhereLike | None) -> list[Item]:
    """All items, ordered by id; or those given by id or path, and those that match a filter."""
    with store.snapshot() as snapshot:
        if named is None and where is None:
            return _by_id(snapshot)
        from hashgrain.library.selecting import select_ids

        return snapshot.items(select_ids(snapshot, store.path, named, where))


def codes_of(store: Store) -> tuple[Codes, list[Item]]:
    """All codes and their items, ordered by id."""
    with store.snapshot() as snapshot:
        items = _by_id(snapshot)
        words = snapshot.codes([item.id for item in items])
    return Codes(words, store.grains), items


def refusals_of(store: Store) -> list[Refused]:
    from hashgrain.sources import Refused

    return [Refused(path, reason) for path, _, reason in store.refusals()]


def fields_of(store: Store) -> list[str]:
    """The names that a filter can have here, in its own syntax: those of every item, then keys of metadata."""
    with store.snapshot() as snapshot:
        return snapshot.filter_names()


def info_of(store: Store, bundle: Bundle, indexes: Indexing) -> dict[str, JsonLike]:
    """What there is, counted."""
    return {
        "path": str(store.path),
        **store.info(),
        "bytes_of_indexes": indexes.whole.bytes(),
        "model": bundle.name,
        "reads": models.reads(bundle),
        "unreadable_files": len(store.refusals()),
        "kept_out": len(store.exclusions()),
    }


def _by_id(snapshot: Snapshot) -> list[Item]:
    return sorted(snapshot.paths(), key=lambda item: item.id)
