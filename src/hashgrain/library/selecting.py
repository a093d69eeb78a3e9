"""Items as a person names them: by id, by path, by a folder's path for all below it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hashgrain.errors import ItemMissingError, LibraryError, QueryError
from hashgrain.store import Snapshot
from hashgrain.store.items import encode_path

ItemRef = int | str | Path


def named_ids(snapshot: Snapshot, library: Path, items: Iterable[ItemRef], undone: str) -> list[int]:
    """The ids of all items named, sorted. A name without items is an error, which says what was not done."""
    named = [items] if isinstance(items, (int, str, os.PathLike)) else list(items)
    ids = {int(each) for each in named if isinstance(each, (int, np.integer))}
    paths = [os.fspath(each) for each in named if not isinstance(each, (int, np.integer))]
    if "" in paths:
        raise QueryError(f"an empty path stands for no item; {undone}. For all items of a folder, name the folder")
    unknown = [f"the id {each}" for each in _missing(snapshot, ids)]
    for path in paths:
        matches = _by_path(snapshot, path)
        ids |= matches
        unknown += [] if matches else [f"the path {path}"]
    if unknown:
        more = f" (and {len(unknown) - 3} more)" if len(unknown) > 3 else ""
        raise ItemMissingError(f"nothing in {library} has {', or '.join(unknown[:3])}{more}; {undone}", path=library)
    return sorted(ids)


def select_ids(
    snapshot: Snapshot,
    library: Path,
    items: Iterable[ItemRef] | None,
    where: str | Mapping[str, Any] | None,
    undone: str = "nothing was looked up",
) -> list[int]:
    """The ids of the items named for which a filter holds; of all, where neither is given."""
    ids = None if items is None else named_ids(snapshot, library, items, undone)
    if where is not None:
        matches = snapshot.select(where).tolist()
        return matches if ids is None else sorted(set(ids) & set(matches))
    return sorted(item.id for item in snapshot.paths()) if ids is None else ids


def _missing(snapshot: Snapshot, ids: Iterable[int]) -> list[int]:
    wanted = sorted(ids)
    try:
        snapshot.items(wanted)
    except (QueryError, LibraryError):  # which one is it?
        return [each for each in wanted if not _is_there(snapshot, each)]
    return []


def _is_there(snapshot: Snapshot, item: int) -> bool:
    try:
        return snapshot.item(item) is not None
    except LibraryError:  # damaged, and must be removable all the same
        return True


def _by_path(snapshot: Snapshot, path: str) -> set[int]:
    """The ids of the item of that name and of all below."""
    whole = os.path.abspath(os.path.expanduser(path))
    try:
        names = {encode_path(path), encode_path(whole)}
        folder = encode_path(whole.rstrip(os.sep) + os.sep)
    except LibraryError:  # what cannot be a path is in no library
        return set()
    return {each for name in names for each in snapshot.at_path(name)} | set(snapshot.below(folder))
