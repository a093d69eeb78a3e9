"""Lists of names in metadata, such as tags: adding names to many items, and removing some."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from hashgrain.errors import QueryError
from hashgrain.library.metadata import KeyPath, Meta, differ, holder_of, key_of
from hashgrain.sources import Refused
from hashgrain.store import Item, MetaReplaced, Store
from hashgrain.store.items import json_text


@dataclass(frozen=True)
class NamesChange:
    """The metadata of an item before its names changed, and after."""

    id: int
    path: str
    before: Meta
    after: Meta


def change_names(
    store: Store, ids: Iterable[int], key: str, add: Sequence[str], remove: Sequence[str]
) -> list[NamesChange]:
    """Add names to the list that each item has under a key, and remove some: all in one commit. Returns what changed.

    An item without the key gets it, one whose last name is removed loses it, and a single text counts as a list of one.
    Another value under the key is an error, which changes nothing.
    """
    path = key_of(key)
    with store.snapshot() as snapshot:
        items = snapshot.items(sorted(set(ids)))
    each = [NamesChange(item.id, item.path, item.meta, _changed(item, key, path, add, remove)) for item in items]
    changes = [change for change in each if differ(change.before, change.after)]
    store.commit([MetaReplaced(change.id, change.after) for change in changes])
    return changes


def undo_names(store: Store, changes: Iterable[NamesChange]) -> tuple[list[int], list[Refused]]:
    """Give items the metadata that they had, in one commit. Returns their ids, and what is left as it is, with the
    reasons: an item that was removed, or whose metadata changed again."""
    edits, left = [], []
    with store.snapshot() as snapshot:
        known = [(change, snapshot.item(change.id)) for change in changes]
    for change, item in known:
        if item is None:
            left.append(Refused(change.path, f"{change.path} is not in the library any more"))
        elif differ(item.meta, change.after):
            left.append(Refused(change.path, f"the metadata of {change.path} changed since"))
        else:
            edits.append(MetaReplaced(change.id, change.before))
    store.commit(edits)
    return [edit.id for edit in edits], left


def _changed(item: Item, key: str, path: KeyPath, add: Sequence[str], remove: Sequence[str]) -> dict[str, Any]:
    meta = dict(item.meta)
    holder = holder_of(meta, path, make=bool(add))
    if holder is None:
        if not add:
            return meta
        raise QueryError(f"{item.path}: {key} cannot be set, since a key above it holds another value", path=item.path)
    names = _names(holder.get(path[-1]))
    if names is None:
        raise QueryError(f"{item.path}: {key} holds another value than names; nothing was changed", path=item.path)
    kept = [name for name in dict.fromkeys([*names, *add]) if name not in remove]
    if kept:
        holder[path[-1]] = kept
    elif names:
        del holder[path[-1]]
    json_text(meta, item.path, "its metadata")
    return meta


def _names(value: Any) -> list[str] | None:
    """The names under a key; None if it holds something else."""
    if value is None:
        return []
    if isinstance(value, str):
        return [value]
    named = isinstance(value, list) and all(isinstance(each, str) for each in value)
    return list(value) if named else None
