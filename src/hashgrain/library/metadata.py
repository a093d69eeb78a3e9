"""Metadata of items: checking it, merging new values into it, and changing it on request."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from hashgrain.errors import LibraryError, QueryError
from hashgrain.store import Item, MetaReplaced, Store
from hashgrain.store.items import json_text

Meta = Mapping[str, Any]
KeyPath = tuple[str, ...]
MetaChange = tuple[Mapping[KeyPath, Any], Sequence[KeyPath]]  # what is set, and what is unset
AT_ONCE = 1_000  # items changed in one commit
PART = re.compile(r"`([^`]+)`|([^.`]+)")


def check_meta(meta: Meta | None) -> dict[str, Any]:
    """Metadata that is given for all pictures, checked before anything is read."""
    fields = dict(meta or {})
    for key, value in fields.items():
        json_text({key: value}, f"metadata {key}", "its value")
    json_text(fields, "metadata", "all of it")
    return fields


def merged(known: Meta, notes: Meta, given: Meta, path: str) -> tuple[dict[str, Any], str | None]:
    """The metadata of a picture, and why a part of it is left out.

    `notes` come from the picture's source and are not trusted. `given` comes from the caller, and is left out only if
    it does not fit beside what the library already holds.
    """
    reason = None
    for parts in ((known, notes, given), (known, given)):
        whole = {key: value for part in parts for key, value in part.items()}
        if not any(parts[1:]):
            return whole, reason
        try:
            json_text(whole, path, "its metadata")
        except LibraryError as error:
            reason = reason or str(error).removeprefix(f"{path}: ")
        else:
            return whole, reason
    return dict(known), reason


def differ(old: Meta, new: Meta) -> bool:
    """Whether they differ as JSON: 1, 1.0 and true are equal in Python, but not here."""
    return json_text(old, "", "") != json_text(new, "", "")


def sound_details(details: Meta, path: str) -> dict[str, Any]:
    """The details of a file, or none if they cannot be stored."""
    try:
        json_text(details, path, "its details")
    except LibraryError:
        return {}
    return dict(details)


def change_meta(store: Store, ids: Sequence[int], put: Meta, drop: Iterable[str]) -> int:
    """Set and unset keys of these items' metadata. Returns how many items changed; an error changes nothing."""
    setting = {key_of(name): value for name, value in put.items()}
    dropping = [key_of(name) for name in drop]
    for name, value in put.items():
        json_text({name: value}, f"metadata {name}", "its value")
    return change_each(store, dict.fromkeys(ids, (setting, dropping)))


def change_each(store: Store, changes: Mapping[int, MetaChange]) -> int:
    """Set and unset keys of each item's metadata, by id. Returns how many items changed; an error changes nothing."""
    for _ in _changes(store, changes):
        pass  # every change is tried before the first is made
    changed = 0
    for batch in _changes(store, changes):
        changed += len(store.commit(batch))
    return changed


def key_of(name: str) -> KeyPath:
    """`place.city` is the key `city` within `place`; `` `a.b` `` is one key with a dot in it, as in filters."""
    parts: list[str] = []
    at = 0
    while match := PART.match(name, at):
        parts.append(match[1] or match[2])
        at = match.end() + 1
        if not name.startswith(".", match.end()):
            break
    if not parts or at != len(name) + 1:
        raise QueryError(
            f"{name!r} is not a key of metadata; keys look like season, place.city, or `a.b` for one with a dot"
        )
    return tuple(parts)


def _changes(store: Store, changes: Mapping[int, MetaChange]) -> Iterator[list[MetaReplaced]]:
    ids = list(changes)
    for start in range(0, len(ids), AT_ONCE):
        with store.snapshot() as snapshot:
            items = snapshot.items(ids[start : start + AT_ONCE])
        changed = [(item, _changed(item, *changes[item.id])) for item in items]
        yield [MetaReplaced(item.id, meta) for item, meta in changed if differ(item.meta, meta)]


def _changed(item: Item, put: Mapping[KeyPath, Any], drop: Sequence[KeyPath]) -> dict[str, Any]:
    meta = dict(item.meta)
    for key in drop:
        inside = holder_of(meta, key, make=False)
        if inside is not None:
            inside.pop(key[-1], None)
    for key, value in put.items():
        inside = holder_of(meta, key, make=True)
        if inside is None:
            raise QueryError(
                f"{item.path}: {'.'.join(key)} cannot be set, since {'.'.join(key[:-1])} holds no keys;"
                " nothing was changed. Unset it first",
                path=item.path,
            )
        inside[key[-1]] = value
    json_text(meta, item.path, "its metadata")
    return meta


def holder_of(meta: dict[str, Any], key: KeyPath, *, make: bool) -> dict[str, Any] | None:
    """The mapping that holds a key, with each mapping on the way copied; None if another value is in its place."""
    for part in key[:-1]:
        if part not in meta and not make:
            return None
        inner = meta.get(part, {})
        if not isinstance(inner, dict):
            return None
        meta[part] = dict(inner)
        meta = meta[part]
    return meta
