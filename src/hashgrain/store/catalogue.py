"""The catalogue: one SQLite file, the truth about a library, from which all else can be made again."""

from __future__ import annotations

import json
import os
import sqlite3
import struct
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hashgrain.codes import Grains
from hashgrain.errors import CodesError, LibraryError
from hashgrain.store.items import COLUMNS, Row, now
from hashgrain.store.trouble import FROM_BACKUP, MendableError

FORMAT = 2
APPLICATION_ID = int.from_bytes(b"HGrn", "big")
NAME = "catalogue.sqlite"
MAKING = "catalogue.making"  # the name while it is being created: a half-made one is no library
SETTINGS = ("synchronous = FULL", "fullfsync = ON", "checkpoint_fullfsync = ON", "foreign_keys = ON")
PATIENCE_S = 10.0  # how long to wait for SQLite's own short locks (checkpoints, recovery)

SCHEMA = f"""
PRAGMA page_size = 4096;
BEGIN;
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {FORMAT};
CREATE TABLE facts (key TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE items (
    id INTEGER PRIMARY KEY AUTOINCREMENT, path BLOB NOT NULL UNIQUE, name BLOB NOT NULL,
    content BLOB NOT NULL, size INTEGER, mtime_ns INTEGER, width INTEGER NOT NULL, height INTEGER NOT NULL,
    format TEXT NOT NULL, taken TEXT, added TEXT NOT NULL, meta TEXT NOT NULL, seal INTEGER NOT NULL
);
CREATE INDEX items_by_content ON items (content);
-- The live codes: row is the place in the segments, which can be written anew from here.
CREATE TABLE rows (
    row INTEGER PRIMARY KEY, item INTEGER NOT NULL UNIQUE REFERENCES items (id), code BLOB NOT NULL,
    seal INTEGER NOT NULL
);
-- What of each segment is committed, and a checksum for each of its files (little-endian u32: the words in order,
-- then the ids). A block's checksums grow with it until the next block is begun.
CREATE TABLE blocks (
    segment INTEGER NOT NULL, first_row INTEGER NOT NULL, rows INTEGER NOT NULL, crcs BLOB NOT NULL,
    PRIMARY KEY (segment, first_row)
) WITHOUT ROWID;
-- Rows that are in the segments but no longer live. Numbered, so that readers fetch only what is new.
CREATE TABLE dead (number INTEGER PRIMARY KEY, row INTEGER NOT NULL UNIQUE, item INTEGER NOT NULL);
"""


class Connection(sqlite3.Connection):
    """A connection that knows whether it may be kept: one to a catalogue taken for frozen may not."""

    frozen = False


@dataclass(frozen=True)
class Facts:
    """What a library was made with."""

    grains: Grains
    digest: str
    created: str


@dataclass(frozen=True)
class Counters:
    """Where the catalogue stands: rows and dead rows only grow within an era; `rebuild` begins a new one."""

    era: int
    rows: int
    dead: int
    segment: int  # the last segment number given out; numbers are never used twice


@dataclass(frozen=True)
class Block:
    """A run of committed rows of one segment with the checksums of its bytes: the words' in order, then the ids'."""

    segment: int
    first_row: int
    rows: int
    crcs: tuple[int, ...]

    @property
    def end(self) -> int:
        return self.first_row + self.rows


def make(library: Path, grains: Grains, digest: str) -> None:
    """Write an empty catalogue under its making name. The caller gives it its real name, all at once."""
    for leftover in library.glob(MAKING + "*"):
        leftover.unlink()
    created = now()
    widths = json.dumps(dict(grains))
    connection = sqlite3.connect(library / MAKING, isolation_level=None)
    try:
        connection.executescript(SCHEMA)
        seal = _seal(widths, digest, created)
        values = {"grains": widths, "digest": digest, "created": created, "seal": seal}
        counters = {"era": 1, "rows": 0, "dead": 0, "segment": 0}
        connection.executemany("INSERT INTO facts VALUES (?, ?)", [*values.items(), *counters.items()])
        connection.execute("COMMIT")
        connection.execute("PRAGMA journal_mode = WAL")
    finally:
        connection.close()


def _seal(grains: str, digest: str, created: str) -> int:
    return zlib.crc32("\n".join((grains, digest, created)).encode())


def connect(library: Path, *, write: bool = False) -> Connection:
    """A connection to the catalogue, checked to be ours and of a format we know."""
    file = library / NAME
    if not file.is_file():
        raise LibraryError(missing(library))
    if write:
        return _checked(library, _opened(file, "mode=rw"))
    try:
        return _checked(library, _opened(file, "mode=ro"))
    except sqlite3.OperationalError:
        # WAL needs a file beside the catalogue. Where none can be made and nobody is writing, do without.
        wal = file.with_name(NAME + "-wal")
        if os.access(library, os.W_OK) or (wal.exists() and wal.stat().st_size):
            raise
        connection = _checked(library, _opened(file, "mode=ro&immutable=1"))
        connection.frozen = True
        return connection


def missing(library: Path) -> str:
    """Why there is no catalogue to open, and what to do."""
    if not library.exists():
        return f"no library at {library}; make one: hashgrain add {library} FOLDER"
    if not library.is_dir():
        return f"{library} is a file; a library is a folder. Make one: hashgrain add NAME.hg FOLDER"
    if any(library.glob(MAKING + "*")):
        return f"{library} was interrupted while it was made; make it again: hashgrain add {library} FOLDER"
    return (
        f"{library} is a folder but not a library (it has no {NAME});"
        f" make one: hashgrain add NAME.hg {library}, or restore the catalogue from a backup"
    )


def _opened(file: Path, options: str) -> Connection:
    return sqlite3.connect(
        f"{file.as_uri()}?{options}",
        uri=True,
        timeout=PATIENCE_S,
        isolation_level=None,
        check_same_thread=False,
        factory=Connection,
    )


def _checked(library: Path, connection: Connection) -> Connection:
    try:
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if application != APPLICATION_ID:
            raise LibraryError(f"{library}: its {NAME} is not ours, or is damaged; {FROM_BACKUP}")
        if version > FORMAT:
            raise LibraryError(
                f"{library} has format {version}, this HashGrain reads up to {FORMAT}; upgrade hashgrain"
            )
        if version < 1:
            raise LibraryError(f"{library}: the catalogue has no format number; it is damaged: {FROM_BACKUP}")
        if version < FORMAT:
            raise LibraryError(
                f"{library} has format {version}, this HashGrain reads format {FORMAT} and no older one;"
                " build the library anew: hashgrain add NEW.hg FOLDER"
            )
        for setting in SETTINGS:
            connection.execute(f"PRAGMA {setting}")
        connection.execute("SELECT count(*) FROM facts").fetchone()  # opens the WAL: now or never
    except BaseException:
        connection.close()
        raise
    return connection


def facts(connection: sqlite3.Connection, library: Path) -> Facts:
    """What the library was made with, or an error if a bit of that has changed since."""
    found: dict[str, Any] = dict(connection.execute("SELECT key, value FROM facts"))
    try:
        widths, digest, created = found["grains"], found["digest"], found["created"]
        if _seal(widths, digest, created) != found["seal"]:
            raise ValueError("checksum")
        return Facts(Grains(json.loads(widths)), digest, created)
    except (KeyError, TypeError, ValueError, CodesError) as error:
        raise LibraryError(
            f"{library}: the catalogue is damaged (its facts do not read: {error}); {FROM_BACKUP}"
        ) from error


def counters(connection: sqlite3.Connection, library: Path) -> Counters:
    found = dict(connection.execute("SELECT key, value FROM facts"))
    try:
        return Counters(*(int(found[key]) for key in ("era", "rows", "dead", "segment")))
    except (KeyError, TypeError, ValueError) as error:
        raise LibraryError(f"{library}: the catalogue is damaged (counters: {error}); {FROM_BACKUP}") from None


def set_counters(connection: sqlite3.Connection, new: Counters) -> None:
    values = [(new.era, "era"), (new.rows, "rows"), (new.dead, "dead"), (new.segment, "segment")]
    connection.executemany("UPDATE facts SET value = ? WHERE key = ?", values)


def blocks(connection: sqlite3.Connection, library: Path, n_words: int, since: int = 0) -> list[Block]:
    """The committed blocks of all segments from number `since` on, in order."""
    found = connection.execute(
        "SELECT segment, first_row, rows, crcs FROM blocks WHERE segment >= ? ORDER BY segment, first_row", (since,)
    ).fetchall()
    for *numbers, crcs in found:
        whole = isinstance(crcs, bytes) and len(crcs) == 4 * (n_words + 1)
        if not whole or any(not isinstance(number, int) or number < 0 for number in numbers):
            raise MendableError(library, library / NAME, "the list of blocks is damaged")
    packed = struct.Struct(f"<{n_words + 1}I")
    return [Block(segment, first_row, rows, packed.unpack(crcs)) for segment, first_row, rows, crcs in found]


def put_blocks(connection: sqlite3.Connection, new: Iterable[Block]) -> None:
    connection.executemany(
        "INSERT OR REPLACE INTO blocks VALUES (?, ?, ?, ?)",
        [(each.segment, each.first_row, each.rows, struct.pack(f"<{len(each.crcs)}I", *each.crcs)) for each in new],
    )


def item_row(connection: sqlite3.Connection, item: int) -> Row | None:
    query = f"SELECT {COLUMNS}, seal FROM items WHERE id = ?"
    found: Row | None = connection.execute(query, (item,)).fetchone()
    return found


def sound_code(library: Path, item: int, code: bytes, seal: int) -> bytes:
    """The code if its checksum fits, otherwise an error that says how to mend it."""
    if not isinstance(code, bytes) or code_seal(item, code) != seal:
        raise LibraryError(
            f"{library}: the code of item {item} is damaged in the catalogue;"
            " `hashgrain remove` it and add its file again"
        )
    return code


def code_seal(item: int, code: bytes) -> int:
    """A checksum that also ties the code to its item."""
    return zlib.crc32(code, zlib.crc32(str(item).encode()))
