"""The catalogue: one SQLite file, the truth about a library, from which all else can be made again."""

from __future__ import annotations

import errno
import json
import os
import secrets
import sqlite3
import stat
import struct
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hashgrain import inside
from hashgrain.codes import Grains
from hashgrain.errors import CodesError, LibraryDamagedError, LibraryFormatError, LibraryMissingError, Remedy
from hashgrain.store import catalogue_file, schema
from hashgrain.store.catalogue_file import NAME as NAME
from hashgrain.store.catalogue_file import Identity
from hashgrain.store.items import COLUMNS, Row, now
from hashgrain.store.schema import FORMAT
from hashgrain.store.trouble import FROM_BACKUP, MendableError, to_remove

MAKING = "catalogue.making"  # the name while it is being created: a half-made one is no library
COMPANIONS = ("", "-wal", "-shm")  # what SQLite keeps in WAL mode: the catalogue, its log, the log's index
# A journal of the other mode can name any file, which SQLite then deletes. A library never has one.
NEVER = NAME + "-journal"
SETTINGS = ("synchronous = FULL", "fullfsync = ON", "checkpoint_fullfsync = ON", "foreign_keys = ON")
GUARDS = ("trusted_schema = OFF", "cell_size_check = ON", "mmap_size = 0")
PATIENCE_S = 10.0  # how long to wait for SQLite's own short locks (checkpoints, recovery)
WAL_MODE = b"\2\2"  # bytes 18 and 19 of the catalogue
# A damaged or doctored tree of pages can lead in circles for longer than anybody waits. A statement gets this many
# steps of SQLite's machine (some 10 s), and more for each byte of the catalogue.
STEPS, STEPS_A_BYTE, STEPS_AT_ONCE = 500_000_000, 300, 1_000_000
COUNTERS = ("era", "rows", "dead", "segment", "commit", "sequence")
LEAST_ROW = 4  # bytes of the smallest row of any table or index
MAX_FACTS, MAX_FACT = 100, 100_000


class TooManyRowsError(sqlite3.DatabaseError):
    def __init__(self) -> None:
        super().__init__("it has more rows than there is room for")


class Connection(sqlite3.Connection):
    """A connection that knows whose it is, and stops a statement that takes longer than any of ours could.

    One to a catalogue that was taken for frozen may not be kept from one use to the next.
    """

    frozen = False
    version = FORMAT
    identity: Identity = (0, 0)
    holder: sqlite3.Connection | None = None  # of a writer: one that reads, and is closed after it
    _left = 0
    _steps = STEPS
    _most_rows = 1000

    def guard(self, size: int) -> None:
        self._most_rows = 1000 + size // LEAST_ROW
        self._steps = STEPS + STEPS_A_BYTE * size
        self._left = self._steps
        self.set_progress_handler(self._step, STEPS_AT_ONCE)

    def close(self) -> None:
        """The last connection to close folds SQLite's log in, be it damaged, and without the sums of its pages. One
        that only reads cannot, so a writer is never the last."""
        super().close()
        if self.holder is not None:
            self.holder.close()
        self._release()

    def close_last(self) -> None:
        """Of a writer that has folded everything in: SQLite takes its empty log away."""
        if self.holder is not None:
            self.holder.close()
        super().close()
        self._release()

    def _release(self) -> None:
        key, self.identity = self.identity, (0, 0)
        if key != (0, 0):
            catalogue_file.release(key)

    def execute(self, *arguments: Any) -> sqlite3.Cursor:
        self._left = self._steps
        return super().execute(*arguments)

    def executemany(self, *arguments: Any) -> sqlite3.Cursor:
        self._left = self._steps
        return super().executemany(*arguments)

    def each(self, query: str, values: Sequence[Any] | Mapping[str, Any] = ()) -> Iterator[tuple[Any, ...]]:
        """The rows of a query; an error where there are more than a file of this size can hold."""
        with closing(self.execute(query, values)) as cursor:
            for count, row in enumerate(cursor):
                if count > self._most_rows:
                    raise TooManyRowsError
                yield row

    def all(self, query: str, values: Sequence[Any] | Mapping[str, Any] = ()) -> list[tuple[Any, ...]]:
        """As `each`, all at once: several times as fast."""
        with closing(self.execute(query, values)) as cursor:
            rows = cursor.fetchmany(self._most_rows + 1)
        if len(rows) > self._most_rows:
            raise TooManyRowsError
        return rows

    def _step(self) -> bool:
        self._left -= STEPS_AT_ONCE
        return self._left < 0


@dataclass(frozen=True)
class Facts:
    """What a library was made with."""

    grains: Grains
    digest: str
    created: str

    @property
    def owner(self) -> int:
        """Marks the redo log of this library, whatever its model."""
        return zlib.crc32(self.created.encode())


@dataclass(frozen=True)
class Counters:
    """Where the catalogue stands: rows and dead rows only grow within an era; `rebuild` begins a new one."""

    era: int
    rows: int
    dead: int
    segment: int  # the last segment number given out; numbers are never used twice
    commit: int = 0  # how many changes were committed; `redo` keeps the same number outside the catalogue
    sequence: int = 0  # the number of the last entry of the log of changes


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
    for leftover in inside.names(library):
        if leftover.startswith(MAKING):
            inside.remove(library, leftover)
    created = now()
    widths = json.dumps(dict(grains))
    connection = sqlite3.connect(library / MAKING, isolation_level=None)
    try:
        connection.execute("PRAGMA page_size = 4096")
        connection.execute("BEGIN")
        schema.create(connection)
        values = {"grains": widths, "digest": digest, "created": created, "seal": _seal(widths, digest, created)}
        values["history"] = secrets.token_hex(16)
        counters = {"era": 1, "rows": 0, "dead": 0, "segment": 0, "sequence": 0}
        connection.executemany("INSERT INTO facts VALUES (?, ?)", [*values.items(), *counters.items()])
        connection.execute("COMMIT")
        connection.execute("PRAGMA journal_mode = WAL")
    finally:
        connection.close()
    # SQLite passes over errors of the disk in some pragmas: what it made is looked at before it gets its name.
    with open(inside.open_file(library, MAKING), "rb") as file:
        head = file.read(100)
    marks = (head[18:20], head[60:64], head[68:72])
    if marks != (WAL_MODE, FORMAT.to_bytes(4, "big"), schema.APPLICATION_ID.to_bytes(4, "big")):
        raise OSError(errno.EIO, "the new catalogue was not written as it should be", str(library / MAKING))


def set_facts(connection: sqlite3.Connection, old: Facts, grains: Grains, digest: str) -> None:
    """The library is of another model from here on."""
    widths = json.dumps(dict(grains))
    values = {"grains": widths, "digest": digest, "seal": _seal(widths, digest, old.created)}
    connection.executemany("UPDATE facts SET value = ? WHERE key = ?", [(v, key) for key, v in values.items()])


def _seal(grains: str, digest: str, created: str) -> int:
    return zlib.crc32("\n".join((grains, digest, created)).encode())


def connect(library: Path, *, write: bool = False) -> Connection:
    """A connection to the catalogue, checked to be ours and of a format we know."""
    file = library / NAME
    if not os.path.lexists(file):
        raise missing(library)
    _check_files(library)
    with catalogue_file.opened(library):  # until each connection holds it for itself
        return _connected(library, file, write)


def _connected(library: Path, file: Path, write: bool) -> Connection:
    if write:
        holder = _opened(file, "mode=ro")
        try:
            holder.guard(inside.size(library, NAME))
            holder.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone()  # it has SQLite's log open now
            connection = _opened(file, "mode=rw")
            connection.holder = holder
        except BaseException:
            holder.close()
            raise
        return _checked(library, connection, write)
    try:
        return _checked(library, _opened(file, "mode=ro"))
    except sqlite3.OperationalError:
        # WAL needs a file beside the catalogue. Where none can be made and nobody is writing, do without.
        if os.access(library, os.W_OK) or inside.size(library, NAME + "-wal"):
            raise
        connection = _checked(library, _opened(file, "mode=ro&immutable=1"))
        connection.frozen = True
        return connection


def _check_files(library: Path) -> None:
    """SQLite follows links and opens pipes: what it is going to open must be files, and nothing else."""
    for suffix in COMPANIONS:
        try:
            found = inside.look(library, NAME + suffix)
        except FileNotFoundError:
            continue
        if not stat.S_ISREG(found.st_mode):
            what = "a link" if stat.S_ISLNK(found.st_mode) else "not a file"
            raise LibraryDamagedError(
                f"{library / (NAME + suffix)} is {what}", remedy=FROM_BACKUP, path=library / (NAME + suffix)
            )
    if os.path.lexists(library / NEVER):
        remedy = Remedy("delete it, then verify the library", "delete_and_verify", library=library)
        message = f"{library / NEVER} is no part of a library and may do harm"
        raise LibraryDamagedError(message, path=library / NEVER, remedy=remedy)


def missing(library: Path) -> LibraryMissingError:
    """Why there is no catalogue to open, and what to do."""
    message, words, key = f"no library at {library}", "make one with Library.create", "make_library"
    if library.exists() and not library.is_dir():
        message, key = f"{library} is a file; a library is a folder", "make_new_library"
    elif library.exists() and any(name.startswith(MAKING) for name in inside.names(library)):
        message, words, key = f"{library} was interrupted while it was made", "make it again", "make_again"
    elif library.exists():
        message, key = f"{library} is a folder but not a library (it has no {NAME})", "make_or_restore"
        words += ", or restore the catalogue from a backup"
    return LibraryMissingError(message, path=library, remedy=Remedy(words, key, path=library))


def _opened(file: Path, options: str) -> Connection:
    return sqlite3.connect(
        f"{file.as_uri()}?{options}",
        uri=True,
        timeout=PATIENCE_S,
        isolation_level=None,
        check_same_thread=False,
        factory=Connection,
    )


def _checked(library: Path, connection: Connection, write: bool = False) -> Connection:
    try:
        connection.identity = catalogue_file.hold(library)
        if write:
            connection.execute("PRAGMA wal_autocheckpoint = 0")  # folding in is for the writer, with the sums of pages
        for guard in GUARDS:
            connection.execute(f"PRAGMA {guard}")
        connection.guard(inside.size(library, NAME) + inside.size(library, NAME + "-wal"))
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
            upgrade(connection) if write else schema.stand_in(connection, connection.version)
    except BaseException:
        connection.close()
        raise
    return connection


def _version(library: Path, connection: sqlite3.Connection) -> int:
    with catalogue_file.opened(library) as descriptor:
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
    """To the newest format, in one step."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        schema.upgrade(connection, connection.version)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    connection.version = FORMAT


def facts(connection: sqlite3.Connection, library: Path) -> Facts:
    """What the library was made with, or an error if a bit of that has changed since."""
    found = _facts(connection)
    try:
        widths, digest, created = found["grains"], found["digest"], found["created"]
        if not isinstance(digest, str) or _seal(widths, digest, created) != found["seal"]:
            raise ValueError("checksum")
        return Facts(Grains(json.loads(widths)), digest, created)
    except (KeyError, TypeError, ValueError, RecursionError, CodesError) as error:
        raise LibraryDamagedError(
            f"{library}: the catalogue is damaged (its facts do not read: {error})", remedy=FROM_BACKUP, path=library
        ) from error


def counters(connection: sqlite3.Connection, library: Path) -> Counters:
    found = _facts(connection)
    found.setdefault("commit", 0)  # format 2 has none
    if "sequence" not in found:  # before format 4
        (found["sequence"],) = connection.execute("SELECT coalesce(max(row) + 1, 0) FROM rows").fetchone()
    values = [found.get(key) for key in COUNTERS]
    numbers = [value for value in values if isinstance(value, int) and value >= 0]
    if len(numbers) < len(values):
        raise LibraryDamagedError(
            f"{library}: the catalogue is damaged (counters: {values})", remedy=FROM_BACKUP, path=library
        )
    return Counters(*numbers)


def _facts(connection: sqlite3.Connection) -> dict[str, Any]:
    query = f"SELECT key, value FROM facts WHERE length(value) <= {MAX_FACT} LIMIT {MAX_FACTS}"
    return dict(connection.execute(query).fetchall())


def set_counters(connection: sqlite3.Connection, new: Counters) -> None:
    values = [(getattr(new, key), key) for key in COUNTERS]
    connection.executemany("UPDATE facts SET value = ? WHERE key = ?", values)


def blocks(connection: Connection, library: Path, n_words: int, since: int = 0) -> list[Block]:
    """The committed blocks of all segments from number `since` on, in order."""
    query = "SELECT segment, first_row, rows, crcs FROM blocks WHERE segment >= ? ORDER BY segment, first_row"
    found = connection.all(query, (since,))
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


def sound_code(library: Path, n_words: int, item: int, code: bytes, seal: int) -> bytes:
    """The code if its checksum fits, otherwise an error that says how to mend it."""
    if not is_sound(n_words, item, code, seal):
        message = f"{library}: the code of item {item} is damaged in the catalogue"
        remedy = Remedy(f"rebuild the library to mend it, or {to_remove(item)}", "mend_code", item=item)
        raise LibraryDamagedError(message, path=library, remedy=remedy)
    return code


def is_sound(n_words: int, item: int, code: object, seal: int) -> bool:
    return isinstance(code, bytes) and len(code) == 8 * n_words and code_seal(item, code) == seal


def code_seal(item: int, code: bytes) -> int:
    """A checksum that also ties the code to its item."""
    return zlib.crc32(code, zlib.crc32(str(item).encode()))
