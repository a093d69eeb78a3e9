"""What changes the library: adding, removing, metadata, tags. One change at a time."""

from __future__ import annotations

from typing import Any

from hashgrain.errors import HashgrainError
from hashgrain.library import Library
from hashgrain.library.name_lists import change_names
from hashgrain.library.sent_pictures import add_sent
from hashgrain.library.taking_out import take_out
from hashgrain.server.items import item_document
from hashgrain.server.problems import ProblemError
from hashgrain.server.removals import OneRemoval, Removal, Removals, Tagging
from hashgrain.server.schemas import MetaRequest, TagsRequest


def add(library: Library, data: bytes, name: str, max_pixels: int) -> dict[str, Any]:
    item, added = add_sent(library, data, name, max_pixels=max_pixels)
    return {"added": added, "item": item_document(item)}


def remove(library: Library, item: int, removals: Removals) -> dict[str, Any]:
    (taken,) = take_out(library, [item])
    return {"undo": removals.keep(OneRemoval(taken))}


def remove_many(library: Library, items: list[int], removals: Removals) -> dict[str, Any]:
    taken = take_out(library, items)
    return {"undo": removals.keep(Removal(taken)), "removed": len(taken)}


def change_meta(library: Library, item: int, request: MetaRequest) -> dict[str, Any]:
    library.item(item)
    try:
        library.meta([item], set=request.set, unset=request.unset)
    except HashgrainError as error:
        raise _about_meta(error) from None
    return item_document(library.item(item))


def change_tags(library: Library, request: TagsRequest, removals: Removals) -> dict[str, Any]:
    try:
        changes = change_names(library.store, request.items, request.key, request.add, request.remove)
    except HashgrainError as error:
        raise _about_meta(error) from None
    return {"changed": len(changes), "undo": removals.keep(Tagging(changes)) if changes else None}


def _about_meta(error: HashgrainError) -> Exception:
    """The error to answer with: a value that cannot be kept is the request's fault, not the library's."""
    return ProblemError(422, "meta", error.message) if error.code == "library" else error
