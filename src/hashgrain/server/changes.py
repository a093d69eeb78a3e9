"""What changes the library: adding, removing, undoing, metadata. One change at a time."""

from __future__ import annotations

import secrets
import threading
from collections import OrderedDict
from typing import Any

from hashgrain.errors import HashgrainError
from hashgrain.library import Library
from hashgrain.library.sent_pictures import add_sent
from hashgrain.library.taking_out import TakenOut, put_back, take_out
from hashgrain.server.items import item_document
from hashgrain.server.problems import ProblemError
from hashgrain.server.schemas import MetaRequest

MOST_UNDONE = 1_000  # removals that can be undone


class Removals:
    """The last removals, under random names."""

    def __init__(self, most: int = MOST_UNDONE) -> None:
        self.most = most
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, TakenOut] = OrderedDict()

    def keep(self, taken: TakenOut) -> str:
        name = secrets.token_urlsafe(18)
        with self._lock:
            self._kept[name] = taken
            if len(self._kept) > self.most:
                self._kept.popitem(last=False)
        return name

    def get(self, name: str) -> TakenOut:
        with self._lock:
            taken = self._kept.get(name)
        if taken is None:
            raise ProblemError(404, "undo_unknown", "this removal cannot be undone any more")
        return taken

    def forget(self, name: str) -> None:
        with self._lock:
            self._kept.pop(name, None)


def add(library: Library, data: bytes, name: str, max_pixels: int) -> dict[str, Any]:
    item, added = add_sent(library, data, name, max_pixels=max_pixels)
    return {"added": added, "item": item_document(item)}


def remove(library: Library, item: int, removals: Removals) -> dict[str, Any]:
    return {"undo": removals.keep(take_out(library, item))}


def undo(library: Library, name: str, removals: Removals) -> dict[str, Any]:
    taken = removals.get(name)
    try:
        item = put_back(library, taken)
    except HashgrainError as error:
        if error.code in ("library", "other_model"):  # it is there again, or cannot be compared any more
            raise ProblemError(409, "undo", error.message) from None
        raise
    removals.forget(name)
    return item_document(item)


def change_meta(library: Library, item: int, request: MetaRequest) -> dict[str, Any]:
    library.item(item)
    try:
        library.meta([item], set=request.set, unset=request.unset)
    except HashgrainError as error:
        if error.code == "library":  # a value that cannot be kept
            raise ProblemError(422, "meta", error.message) from None
        raise
    return item_document(library.item(item))
