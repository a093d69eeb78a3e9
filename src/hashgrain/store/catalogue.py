"""The catalogue: one SQLite file, the source of truth of a library, from which all other files can be rebuilt."""

from __future__ import annotations

import errno
import json
import os
import secrets
import sqlite3
import stat
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hashgrain import inside
from hashgrain.codes import Grains
from hashgrain.errors import (
    CodesError,
    LibraryDamagedError,
    LibraryError,
    LibraryFormatError,
    LibraryMissingError,
    Remedy,
)
from hashgrain.store import catalogue_file, schema
from hashgrain.store.catalogue_file import NAME as NAME
from hashgrain.store.catalogue_file import Identity
from hashgrain.store.errors import FROM_BACKUP, to_remove
from hashgrain.store.items import COLUMNS, ItemRow, now
from hashgrain.store.parts import Grid, grid_of, grid_text
from hashgrain.store.redo import STATEMENTS, Step
from hashgrain.store.schema import FORMAT
from hashgrain.store.spaces import SPACES

TEMPORARY_NAME = "catalogue.making"  # the name while it is being created: a half-made one is no library
SQLITE_FILES = ("", "-wal", "-shm")  # what SQLite keeps in WAL mode: the catalogue, its log, the log's index
# A rollback journal can name any file, which SQLite then deletes. A library never has one.
ROLLBACK_JOURNAL = NAME + "-journal"
SETTINGS = ("synchronous = FULL", "fullfsync = ON", "checkpoint_fullfsync = ON", "foreign_keys = ON")
GUARDS = ("trusted_schema = OFF", "cell_size_check = ON", "mmap_size = 0")
BUSY_TIMEOUT_S = 10.0  # how long to wait for SQLite's own short locks (checkpoints, recovery)
WAL_MODE = b"\2\2"  # bytes 18 and 19 of the catalogue
# A damaged or forged tree of pages can lead in circles without end. A statement gets this many steps of SQLite's
# virtual machine (some 10 s), and more for each byte of the catalogue.
STEPS, STEPS_A_BYTE, STEPS_AT_ONCE = 500_000_000, 300, 1_000_000
MIN_ROW_BYTES = 4  # bytes of the smallest row of any table or index
MAX_FACTS, MAX_FACT_CHARS = 100, 100_000


class TooManyRowsError(sqlite3.DatabaseError):
    def __init__(self) -> None:
        super().__init__("it has more rows than there is room for")


class Connection(sqlite3.Connection):
    """A connection that knows its file, and stops a statement that takes longer than any of ours could.

    A connection that assumes a frozen (immutable) catalogue must not be reused.
    """

    frozen = False
    version = FORMAT
    identity: Identity = (0, 0)
    reader: sqlite3.Connection | None = None  # of a writer: a second connection, which is closed after it
    _steps_left = 0
    _max_steps = STEPS
    _max_rows = 1000

    def set_limits(self, size: int) -> None:
        self._max_rows = 1000 + size // MIN_ROW_BYTES
        self._max_steps = STEPS + STEPS_A_BYTE * size
        self._steps_left = self._max_steps
        self.set_progress_handler(self._step, STEPS_AT_ONCE)

    def close(self) -> None:
        """The last connection to close folds SQLite's log in, even a damaged one, and updates no checksums of pages.
        A connection that only reads cannot do that, so a writer is never closed last."""
        super().close()
        if self.reader is not None:
            self.reader.close()
        self._release()

    def close_last(self) -> None:
        """Close a writer that has folded everything in: SQLite removes its empty log."""
        if self.reader is not None:
            self.reader.close()
        super().close()
        self._release()

    def _release(self) -> None:
        key, self.identity = self.identity, (0, 0)
        if key != (0, 0):
            catalogue_file.release(key)

    def execute(self, *arguments: Any) -> sqlite3.Cursor:
        self._steps_left = self._max_steps
        return super().execute(*arguments)

    def executemany(self, *arguments: Any) -> sqlite3.Cursor:
        self._steps_left = self._max_steps
        return super().executemany(*arguments)

    def each(self, query: str, values: Sequence[Any] | Mapping[str, Any] = ()) -> Iterator[tuple[Any, ...]]:
        """The rows of a query; an error if there are more than a file of this size can hold."""
        with closing(self.execute(query, values)) as cursor:
            for count, row in enumerate(cursor):
                if count > self._max_rows:
                    raise TooManyRowsError
                yield row

    def all(self, query: str, values: Sequence[Any] | Mapping[str, Any] = ()) -> list[tuple[Any, ...]]:
        """Like `each`, but all rows at once: several times as fast."""
        with closing(self.execute(query, values)) as cursor:
            rows = cursor.fetchmany(self._max_rows + 1)
        if len(rows) > self._max_rows:
            raise TooManyRowsError
        return rows

    def _step(self) -> bool:
        self._steps_left -= STEPS_AT_ONCE
        return self._steps_left < 0


@dataclass(frozen=True)
class LibraryFacts:
    """The settings of a library: grains, digest of the model, date of creation, grid of parts."""

    grains: Grains
    digest: str
    created: str
    grid: Grid | None = None  # positions of the parts of items without positions of their own

    @property
    def owner(self) -> int:
        """Identifies the redo log of this library, whatever its model."""
        return zlib.crc32(self.created.encode())


def create(library: Path, grains: Grains, digest: str, grid: str | None = None) -> None:
    """Write an empty catalogue under its temporary name. The caller renames it in one step."""
    for leftover in inside.names(library):
        if leftover.startswith(TEMPORARY_NAME):
            inside.remove(library, leftover)
    created = now()
    widths = json.dumps(dict(grains))
    connection = sqlite3.connect(library / TEMPORARY_NAME, isolation_level=None)
    try:
        connection.execute("PRAGMA page_size = 4096")
        connection.execute("BEGIN")
        schema.create(connection)
        values: dict[str, str | int]
        values = {"grains": widths, "digest": digest, "created": created, "history": secrets.token_hex(16)}
        values |= {"seal": facts_checksum(widths, digest, created, grid), **({} if grid is None else {"grid": grid})}
        counters = {"era": 1, "sequence": 0}
        counters |= {space.counter + key: 0 for space in SPACES for key in ("rows", "dead", "segment")}
        connection.executemany("INSERT INTO facts VALUES (?, ?)", [*values.items(), *counters.items()])
        connection.execute("COMMIT")
        connection.execute("PRAGMA journal_mode = WAL")
    finally:
        connection.close()
    # SQLite ignores errors of the disk in some pragmas, so the file is checked before it gets its name.
    with open(inside.open_file(library, TEMPORARY_NAME), "rb") as file:
        head = file.read(100)
    marks = (head[18:20], head[60:64], head[68:72])
    if marks != (WAL_MODE, FORMAT.to_bytes(4, "big"), schema.APPLICATION_ID.to_bytes(4, "big")):
        raise OSError(errno.EIO, "the new catalogue was not written as it should be", str(library / TEMPORARY_NAME))


def set_facts(connection: sqlite3.Connection, old: LibraryFacts, grains: Grains, digest: str, grid: str | None) -> None:
    """Record the grains, digest and grid of another model."""
    widths = json.dumps(dict(grains))
    values = {"grains": widths, "digest": digest, "seal": facts_checksum(widths, digest, old.created, grid)}
    connection.executemany("UPDATE facts SET value = ? WHERE key = ?", [(v, key) for key, v in values.items()])
    connection.execute("DELETE FROM facts WHERE key = 'grid'")
    if grid is not None:
        connection.execute("INSERT INTO facts VALUES ('grid', ?)", (grid,))


def set_grid(connection: sqlite3.Connection, library: Path, old: LibraryFacts, grid: str | None) -> list[Step]:
    """Set the grid of parts, or remove it; returns the statements for the redo log."""
    if old.grid is not None and grid_text(old.grid) != grid:
        (in_use,) = connection.execute("SELECT EXISTS (SELECT 1 FROM parts WHERE positions IS NULL)").fetchone()
        if in_use:
            message = f"{library}: its grid of parts cannot be changed, since items have parts that lie on it"
            raise LibraryError(message, path=library, remedy="drop those parts first")
    checksum = facts_checksum(json.dumps(dict(old.grains)), old.digest, old.created, grid)
    steps: list[Step] = [
        ("drop grid", [()]),
        ("put grid", [] if grid is None else [(grid,)]),
        ("put seal", [(checksum,)]),
    ]
    for name, rows in steps:
        connection.executemany(STATEMENTS[name], rows)
    return steps


def facts_checksum(grains: str, digest: str, created: str, grid: str | None) -> int:
    return zlib.crc32("\n".join((grains, digest, created, *(() if grid is None else (grid,)))).encode())


def connect(library: Path, *, write: bool = False, upgrading: bool = True) -> Connection:
    """A connection to the catalogue, after checks that it is ours and of a known format.

    A writing connection upgrades an older format, unless `upgrading` is off (for a downgrade).
    """
    file = library / NAME
    if not os.path.lexists(file):
        raise missing_error(library)
    _check_files(library)
    with catalogue_file.shared_descriptor(library):  # until each connection acquires it for itself
        return _connect(library, file, write, upgrading)


def _connect(library: Path, file: Path, write: bool, upgrading: bool) -> Connection:
    if write:
        reader = _open(file, "mode=ro")
        try:
            reader.set_limits(inside.size(library, NAME))
            reader.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone()  # opens SQLite's log
            connection = _open(file, "mode=rw")
            connection.reader = reader
        except BaseException:
            reader.close()
            raise
        return _configure(library, connection, write and upgrading, write)
    try:
        return _configure(library, _open(file, "mode=ro"))
    except sqlite3.OperationalError:
        # WAL needs a file beside the catalogue. If it cannot be made and nobody is writing, do without.
        if os.access(library, os.W_OK) or inside.size(library, NAME + "-wal"):
            raise
        connection = _configure(library, _open(file, "mode=ro&immutable=1"))
        connection.frozen = True
        return connection


def _check_files(library: Path) -> None:
    """SQLite follows links and opens pipes, so raise unless its files are regular files."""
    for suffix in SQLITE_FILES:
        try:
            status = inside.look(library, NAME + suffix)
        except FileNotFoundError:
            continue
        if not stat.S_ISREG(status.st_mode):
            kind = "a link" if stat.S_ISLNK(status.st_mode) else "not a file"
            raise LibraryDamagedError(
                f"{library / (NAME + suffix)} is {kind}", remedy=FROM_BACKUP, path=library / (NAME + suffix)
            )
    if os.path.lexists(library / ROLLBACK_JOURNAL):
        remedy = Remedy("delete it, then verify the library", "delete_and_verify", library=library)
        message = f"{library / ROLLBACK_JOURNAL} is no part of a library and may do harm"
        raise LibraryDamagedError(message, path=library / ROLLBACK_JOURNAL, remedy=remedy)


def missing_error(library: Path) -> LibraryMissingError:
    """Why there is no catalogue to open, and what to do."""
    message, words, key = f"no library at {library}", "make one with Library.create", "make_library"
    if library.exists() and not library.is_dir():
        message, key = f"{library} is a file; a library is a folder", "make_new_library"
    elif library.exists() and any(name.startswith(TEMPORARY_NAME) for name in inside.names(library)):
        message, words, key = f"{library} was interrupted while it was made", "make it again", "make_again"
    elif library.exists():
        message, key = f"{library} is a folder but not a library (it has no {NAME})", "make_or_restore"
        words += ", or restore the catalogue from a backup"
    return LibraryMissingError(message, path=library, remedy=Remedy(words, key, path=library))


def _open(file: Path, options: str) -> Connection:
    return sqlite3.connect(
        f"{file.as_uri()}?{options}",
        uri=True,
        timeout=BUSY_TIMEOUT_S,
        isolation_level=None,
        check_same_thread=False,
        factory=Connection,
    )


def _configure(library: Path, connection: Connection, upgrading: bool = False, write: bool = False) -> Connection:
    try:
        connection.identity = catalogue_file.acquire(library)
        if write:
            connection.execute("PRAGMA wal_autocheckpoint = 0")  # `Writer.fold` does it, with the checksums of pages
        for guard in GUARDS:
            connection.execute(f"PRAGMA {guard}")
        connection.set_limits(inside.size(library, NAME) + inside.size(library, NAME + "-wal"))
        connection.version = _version(library, connection)
        for setting in SETTINGS:
            connection.execute(f"PRAGMA {setting}")
        if not schema.is_ours(connection, connection.version):  # opens the WAL: now or never
            raise LibraryDamagedError(
                f"{library}: the tables of its catalogue are not those of a library; it is damaged or made to do harm",
                remedy=FROM_BACKUP,
                path=library,
            )
        if connection.version < FORMAT:
            upgrade(connection) if upgrading else schema.stand_in(connection, connection.version)
    except BaseException:
        connection.close()
        raise
    return connection


def _version(library: Path, connection: sqlite3.Connection) -> int:
    with catalogue_file.shared_descriptor(library) as descriptor:
        head = catalogue_file.read_at(descriptor, 20, 0)
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if application != schema.APPLICATION_ID or head[18:] != WAL_MODE:
        raise LibraryDamagedError(f"{library}: its {NAME} is not ours, or is damaged", remedy=FROM_BACKUP, path=library)
    if version > FORMAT:
        message = f"{library} has format {version}, this HashGrain reads up to {FORMAT}"
        raise LibraryFormatError(message, path=library, remedy="upgrade hashgrain")
    if version < 1:
        raise LibraryDamagedError(
            f"{library}: the catalogue has no format number; it is damaged", remedy=FROM_BACKUP, path=library
        )
    if version < schema.OLDEST:
        message = f"{library} has format {version}, this HashGrain reads formats {schema.OLDEST} to {FORMAT}"
        remedy = Remedy("build the library anew from its pictures", "build_anew")
        raise LibraryFormatError(message, path=library, remedy=remedy)
    return int(version)


def upgrade(connection: Connection) -> None:
    """Upgrade to the newest format in one transaction."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        schema.upgrade(connection, connection.version)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    connection.version = FORMAT


def library_facts(connection: sqlite3.Connection, library: Path) -> LibraryFacts:
    """The settings of the library, or an error if their checksum does not match."""
    values = raw_facts(connection)
    try:
        widths, digest, created = values["grains"], values["digest"], values["created"]
        grid = values.get("grid")
        if not isinstance(digest, str) or facts_checksum(widths, digest, created, grid) != values["seal"]:
            raise ValueError("checksum")
        return LibraryFacts(Grains(json.loads(widths)), digest, created, None if grid is None else grid_of(grid))
    except (KeyError, TypeError, ValueError, RecursionError, CodesError) as error:
        raise LibraryDamagedError(
            f"{library}: the catalogue is damaged (its facts do not read: {error})", remedy=FROM_BACKUP, path=library
        ) from error


def raw_facts(connection: sqlite3.Connection) -> dict[str, Any]:
    query = f"SELECT key, value FROM facts WHERE length(value) <= {MAX_FACT_CHARS} LIMIT {MAX_FACTS}"
    return dict(connection.execute(query).fetchall())


def item_row(connection: sqlite3.Connection, item: int) -> ItemRow | None:
    query = f"SELECT {COLUMNS}, seal FROM items WHERE id = ?"
    row: ItemRow | None = connection.execute(query, (item,)).fetchone()
    return row


def sound_code(library: Path, n_words: int, item: int, code: bytes, checksum: int) -> bytes:
    """The code if its checksum matches, otherwise an error that says how to mend it."""
    if not is_sound(n_words, item, code, checksum):
        message = f"{library}: the code of item {item} is damaged in the catalogue"
        remedy = Remedy(f"rebuild the library to mend it, or {to_remove(item)}", "mend_code", item=item)
        raise LibraryDamagedError(message, path=library, remedy=remedy)
    return code


def is_sound(n_words: int, item: int, code: object, checksum: int) -> bool:
    return isinstance(code, bytes) and len(code) == 8 * n_words and code_checksum(item, code) == checksum


def code_checksum(item: int, code: bytes) -> int:
    """A checksum that also ties the code to its item."""
    return zlib.crc32(code, zlib.crc32(str(item).encode()))
