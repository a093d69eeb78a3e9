"""Items, the changes that a library takes, and an item as a row of the catalogue."""

from __future__ import annotations

import json
import os
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

import numpy as np

from hashgrain.codes import Words
from hashgrain.errors import LibraryDamagedError, LibraryError
from hashgrain.store.errors import to_remove
from hashgrain.store.parts import Parts as Parts

MAX_META_CHARS = 1_000_000
MAX_META_DEPTH = 64  # SQLite's JSON functions stop at 1000, and one item too deep would fail every filter
COLUMNS = "id, path, name, content, size, mtime_ns, width, height, format, taken, added, meta, details"
TEXT, NUMBER, BYTES, NOTHING = str, int, bytes, type(None)
# The types of each column, which are checked here: SQLite takes any type in any column.
COLUMN_TYPES: tuple[tuple[type, ...], ...] = (
    *((NUMBER,), (BYTES,), (BYTES,), (BYTES,)),  # id, path, name, content
    *((NUMBER, NOTHING), (NUMBER, NOTHING), (NUMBER,), (NUMBER,)),  # size, mtime_ns, width, height
    *((TEXT,), (TEXT, NOTHING), (TEXT,), (TEXT,), (TEXT, NOTHING)),  # format, taken, added, meta, details
)
ItemRow = tuple[Any, ...]


@dataclass(frozen=True)
class Item:
    """One item of the library, such as a picture. `content` is the SHA-256 of its bytes, in hexadecimal. A recording
    has no width and height: they are None."""

    id: int
    path: str
    content: str
    size: int | None
    mtime_ns: int | None
    width: int | None
    height: int | None
    format: str
    taken: str | None
    added: str
    meta: dict[str, Any]
    details: dict[str, Any] = field(default_factory=dict)  # read from the file: camera, place, keywords


@dataclass(frozen=True, eq=False)
class New:
    """An item the library does not have yet. `stamp`, of a file, is (size in bytes, mtime in ns)."""

    path: str
    content: str
    stamp: tuple[int, int] | None
    width: int | None
    height: int | None
    format: str
    taken: str | None
    code: Words
    meta: Mapping[str, Any] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)
    parts: Parts | None = None


@dataclass(frozen=True, eq=False)
class Replaced:
    """The file's content changed: the item keeps its id and gets a new code and new parts; the old ones are dead."""

    id: int
    path: str
    content: str
    stamp: tuple[int, int] | None
    width: int | None
    height: int | None
    format: str
    taken: str | None
    code: Words
    meta: Mapping[str, Any] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)
    parts: Parts | None = None


@dataclass(frozen=True)
class Moved:
    """The same content at a new path; the old path is gone."""

    id: int
    path: str
    stamp: tuple[int, int] | None


@dataclass(frozen=True)
class Touched:
    """The file's size or time changed, its content did not."""

    id: int
    stamp: tuple[int, int] | None


@dataclass(frozen=True, eq=False)
class MetaReplaced:
    """New metadata for an item, in place of the old."""

    id: int
    meta: Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class PartsReplaced:
    """New parts for an item, in place of the old; None removes them."""

    id: int
    parts: Parts | None


@dataclass(frozen=True)
class Problem:
    """A finding of `verify`. A harmless one costs space and never changes an answer."""

    thing: str
    reason: str
    remedy: str
    harmless: bool = False


def now() -> str:
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def encode_path(path: str) -> bytes:
    """The bytes of a path on disk, so that paths that are not UTF-8 survive."""
    try:
        encoded = os.fsencode(path)
    except UnicodeEncodeError as error:
        raise LibraryError(f"{path!r} cannot be a path: it holds half a character; rename it") from error
    if b"\0" in encoded:
        raise LibraryError(f"{path!r} cannot be a path: it holds a zero byte; rename it")
    return encoded


def name_of(path: bytes) -> bytes:
    """The last component of a path. Inside archives the separator is `/` on every system."""
    if os.sep == "\\":
        path = path.replace(b"\\", b"/")
    return path.rstrip(b"/").rpartition(b"/")[2]


def row_of(change: New | Replaced, item: int, added: str) -> ItemRow:
    """The catalogue's row of a new or changed item, checksum last."""
    if not re.fullmatch("[0-9a-f]{64}", change.content):
        raise LibraryError(f"{change.path}: {change.content!r} is not a SHA-256 in hexadecimal", path=change.path)
    path = encode_path(change.path)
    identity = (item, path, name_of(path), bytes.fromhex(change.content), *stamp_of(change.stamp))
    taken = None if change.taken is None else str(change.taken)
    properties = (int(change.width or 0), int(change.height or 0), str(change.format), taken)  # 0: none
    details = json_text(change.details, change.path, "its details") if change.details else None
    return with_checksum((*identity, *properties, added, json_text(change.meta, change.path, "its metadata"), details))


def stamp_of(stamp: tuple[int, int] | None) -> tuple[int | None, int | None]:
    return (None, None) if stamp is None else (int(stamp[0]), int(stamp[1]))


def row_at_path(row: ItemRow, path: str, stamp: tuple[int, int] | None) -> ItemRow:
    """The row, checksum last, of the same item at another path."""
    encoded = encode_path(path)
    return with_checksum((row[0], encoded, name_of(encoded), row[3], *stamp_of(stamp), *row[6:13]))


def row_with_meta(row: ItemRow, meta: Mapping[str, Any]) -> ItemRow:
    """The row, checksum last, of the same item with other metadata."""
    return with_checksum((*row[:11], json_text(meta, os.fsdecode(row[1]), "its metadata"), row[12]))


def with_checksum(fields: ItemRow) -> ItemRow:
    """The fields followed by their checksum: SQLite has none, and a flipped bit must not change an answer.

    `ascii` gives the same text for the same values in every version of Python. Rows without details have the checksum
    of format 2, which had no details.
    """
    covered = fields if fields[12] is not None else fields[:12]
    return (*fields, zlib.crc32(ascii(covered).encode()))


def check_row(row: ItemRow, library: os.PathLike[str]) -> ItemRow:
    """The row if it is sound; otherwise raise an error that says how to mend it."""
    if not is_sound(row):
        raise damaged_error(row, library)
    return row


def damaged_error(row: ItemRow, library: os.PathLike[str]) -> LibraryError:
    message = f"{library}: item {row[0]} is damaged in the catalogue"
    return LibraryDamagedError(message, path=library, remedy=to_remove(row[0]))


def is_sound(row: ItemRow) -> bool:
    """Whether the checksum matches and each value has the type of its column. Types are checked too, since anybody can
    write a row with a matching checksum."""
    if with_checksum(row[:-1]) != tuple(row):
        return False
    if not all(type(value) in types for value, types in zip(row, COLUMN_TYPES, strict=False)):
        return False
    return len(row[3]) == 32 and b"\0" not in row[1]


def item_of(row: ItemRow, library: os.PathLike[str]) -> Item:
    """The item of a row of COLUMNS and checksum."""
    fields = check_row(row, library)[:-1]
    number, path, _, content, size, mtime_ns, width, height, kind, taken, added, meta, details = fields
    try:
        notes, facts = json.loads(meta), json.loads(details) if details else {}
    except (ValueError, RecursionError):
        raise damaged_error(row, library) from None
    if not isinstance(notes, dict) or not isinstance(facts, dict):
        raise damaged_error(row, library)
    return Item(
        id=number,
        path=os.fsdecode(path),
        content=content.hex(),
        size=size,
        mtime_ns=mtime_ns,
        width=width or None,
        height=height or None,
        format=kind,
        taken=taken,
        added=added,
        meta=notes,
        details=facts,
    )


def json_text(meta: Mapping[str, Any], path: str, what: str) -> str:
    """Metadata as JSON. Only lone surrogates are escaped: older SQLite compares keys as they are written."""
    try:
        if _depth(meta) > MAX_META_DEPTH:
            raise ValueError(f"nested deeper than {MAX_META_DEPTH} levels")
        text = json.dumps(dict(meta), ensure_ascii=False, allow_nan=False, default=_plain)
    except (TypeError, ValueError) as error:
        raise LibraryError(
            f"{path}: {what} cannot be kept ({error}); give text, numbers, true, false, null, lists or mappings"
        ) from error
    if len(text) > MAX_META_CHARS:
        raise LibraryError(f"{path}: {what} would be {len(text)} characters of JSON, at most {MAX_META_CHARS} are kept")
    return re.sub("[\ud800-\udfff]", lambda half: f"\\u{ord(half[0]):04x}", text)


def _depth(value: Any, level: int = 1) -> int:
    if level > MAX_META_DEPTH:
        return level
    members = value.values() if isinstance(value, Mapping) else value
    if not isinstance(members, (list, tuple)) and members is value:
        return level
    return max((_depth(each, level + 1) for each in members), default=level)


def _plain(value: object) -> object:
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} is not plain data")
