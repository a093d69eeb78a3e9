"""Items over HTTP: facts, thumbnails, originals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hashgrain.errors import ImageError
from hashgrain.library import Library
from hashgrain.library.metadata import key_of
from hashgrain.library.reading import picture_of_item
from hashgrain.server.paging import Cursor, fingerprint, narrowed, read_cursor
from hashgrain.server.problems import ProblemError
from hashgrain.server.schemas import MAX_ITEMS
from hashgrain.store import Item

MEDIA_TYPES = {
    "jpeg": "image/jpeg",
    "png": "image/png",
    "webp": "image/webp",
    "gif": "image/gif",
    "bmp": "image/bmp",
    "tiff": "image/tiff",
    "avif": "image/avif",
    "heic": "image/heic",
    "jxl": "image/jxl",
}
EDGES = (128, 256, 512, 1024)


def item_document(item: Item) -> dict[str, Any]:
    """An item as JSON. The keys are stable."""
    return dict(vars(item))


def items_page(
    library: Library, where: str | None, among: Sequence[int] | None, cursor: str | None, k: int
) -> dict[str, Any]:
    """Items in the order of their ids, those that match a filter, and are `among` some if these are given."""
    name = fingerprint(["items", where, among])
    after = 0 if cursor is None else read_cursor(cursor, name).last_id
    condition = narrowed(where, among, after=after)
    assert condition is not None
    with library.store.snapshot() as snapshot:
        ids = snapshot.select(condition)
        items = snapshot.items(ids[:k].tolist())
    following = Cursor(name, items[-1].id, 0, ()).text() if len(ids) > k else None
    return {"items": [item_document(item) for item in items], "next": following}


def tags_document(library: Library, key: str, k: int) -> dict[str, Any]:
    """The values of a key, most frequent first."""
    with library.store.snapshot() as snapshot:
        values = snapshot.values(key_of(key), k)
    return {"key": key, "tags": [{"name": name, "count": count} for name, count in values]}


def items_there(library: Library, ids: Sequence[int]) -> dict[int, Item]:
    """Those of these items that are still in the library, as they are now, in this order."""
    if not ids:
        return {}
    condition = narrowed(None, ids)
    assert condition is not None
    with library.store.snapshot() as snapshot:
        there = set(snapshot.select(condition).tolist())
        return {item.id: item for item in snapshot.items([each for each in ids if each in there])}


def read_ids(text: str | None) -> list[int] | None:
    """Ids as an address has them, 3,17,20: 422 if they are too many."""
    ids = None if text is None else [int(each) for each in text.split(",")]
    if ids is not None and len(ids) > MAX_ITEMS:
        raise ProblemError(422, "bad_request", f"items: at most {MAX_ITEMS} ids")
    return ids


def thumbnail_tag(item: Item, edge: int) -> str:
    return f'"{item.content[:24]}-{edge}"'


def original_tag(item: Item) -> str:
    return f'"{item.content}"'


def thumbnail(library: Library, item: int, edge: int) -> bytes:
    """A small JPEG; 410 if there is none and the file is gone."""
    try:
        return library.thumbnail(item, edge=edge)
    except ImageError as error:
        raise ProblemError(410, "picture_gone", str(error)) from None


def media_type_of(item: Item) -> str:
    return MEDIA_TYPES.get(item.format, "application/octet-stream")


def original(library: Library, item: Item) -> bytes:
    """The bytes of an item's file; 410 if the file is gone, or is another by now."""
    try:
        return picture_of_item(item, library.path)
    except ImageError as error:
        raise ProblemError(410, "picture_gone", str(error)) from None
