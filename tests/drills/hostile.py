"""Catalogues made by a stranger: views that never end, triggers, odd values, trees that bite their own tail.

Each attack changes the SQLite file of a library in place. The attacker knows our format: checksums are made anew
where we know how, so that it is not they that stop him.
"""

from __future__ import annotations

import random
import sqlite3
import struct
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

PAGE = 4096
ENDLESS = "WITH RECURSIVE e(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM e)"
NESTED = "[" * 3000 + "]" * 3000
VALUES: tuple[Any, ...] = (
    None,
    0,
    -1,
    2**63 - 1,
    -(2**63),
    float("inf"),
    float("-inf"),
    0.5,
    1e300,
    "",
    "text",
    "a\0b",
    "\ud800".encode("utf-8", "surrogatepass"),
    b"",
    b"\0\1\2",
    b"\0" * 16,
    b"/etc/passwd",
    b"a\0b",
    b"\xff\xfe",
    "{}",
    "[1]",
    "{",
    '{"a": NaN}',
    '{"a": 1e999}',
    '{"kind": {"thing": 64}}',
    '{"kind": -1}',
    '{"kind": 1e99}',
    f'{{"a": {NESTED}}}',
    NESTED,
    "9" * 5000,
    "x" * 3_000_000,
)


def catalogue_of(library: Path) -> Path:
    """The SQLite file of a library, whatever it is called."""
    for file in sorted(library.iterdir()):
        if (
            file.is_file()
            and not file.name.endswith(("-wal", "-shm"))
            and file.open("rb").read(15) == b"SQLite format 3"
        ):
            return file
    raise FileNotFoundError(library)


def attack(draw: random.Random, library: Path) -> str:
    """Change the catalogue in one hostile way; what was done."""
    file = catalogue_of(library)
    how = draw.choices(list(ATTACKS), [weight for _, weight in ATTACKS.values()])[0]
    what = ATTACKS[how][0](draw, file)
    renew_checksums(library)
    return f"{how}: {what}"


def renew_checksums(library: Path) -> None:
    """Make the checksums of the catalogue's pages anew, as its author would."""
    with suppress(ImportError):
        from hashgrain.store import page_checksums

        page_checksums.forget(library)
        page_checksums.update(library)


def _open(file: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(file, isolation_level=None)
    connection.execute("PRAGMA foreign_keys = OFF")
    connection.execute("PRAGMA synchronous = OFF")
    connection.execute("PRAGMA ignore_check_constraints = ON")
    connection.execute("PRAGMA defer_foreign_keys = ON")
    return connection


def _tables(connection: sqlite3.Connection) -> list[str]:
    found = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
    return sorted(name for (name,) in found)


def _columns(connection: sqlite3.Connection, table: str) -> list[str]:
    return [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]


def views(draw: random.Random, file: Path) -> str:
    """A table is a view: of rows without end, of huge values, of products of tables, of itself."""
    with closing(_open(file)) as connection:
        table = draw.choice(_tables(connection))
        columns = _columns(connection, table)
        connection.execute(f"ALTER TABLE {table} RENAME TO kept_{table}")
        rows = ", ".join(f'k."{column}" AS "{column}"' for column in columns)
        numbers = ", ".join(f'n AS "{column}"' for column in columns)
        big = ", ".join(f'zeroblob(900000000) AS "{column}"' for column in columns)
        wide = ", ".join(f"printf('%.*c', 900000000, 'x') AS \"{column}\"" for column in columns)
        cross = ", ".join(f"kept_{table} k{i}" for i in range(12))
        product = ", ".join(f'k0."{column}" AS "{column}"' for column in columns)
        kinds = {
            "endless copies": f"{ENDLESS} SELECT {rows} FROM kept_{table} k, e",
            "endless after the right ones": f"SELECT {rows} FROM kept_{table} k UNION ALL {_sub(numbers)}",
            "endless numbers": f"{ENDLESS} SELECT {numbers} FROM e",
            "nothing, for ever": f"{ENDLESS} SELECT {numbers} FROM e WHERE n < 0",
            "huge blobs": f"SELECT {big}",
            "huge texts": f"SELECT {wide} FROM kept_{table}",
            "a product of twelve": f"SELECT {product} FROM {cross}",
            "itself": f"SELECT * FROM {table}",
        }
        kind = draw.choice(list(kinds))
        with suppress(sqlite3.Error):
            connection.execute(f"CREATE VIEW {table} AS {kinds[kind]}")
        return f"{table} is a view of {kind}"


def _sub(numbers: str) -> str:
    return f"SELECT * FROM ({ENDLESS} SELECT {numbers} FROM e)"


def triggers(draw: random.Random, file: Path) -> str:
    with closing(_open(file)) as connection:
        tables = _tables(connection)
        table = draw.choice(tables)
        event, when = draw.choice(("INSERT", "UPDATE", "DELETE")), draw.choice(("BEFORE", "AFTER"))
        other = draw.choice(tables)
        kinds = {
            "never ends": f"SELECT count(*) FROM ({ENDLESS} SELECT n FROM e);",
            "eats memory": "SELECT length(hex(zeroblob(450000000))) + length(printf('%.*c', 900000000, 'x'));",
            f"empties {other}": f"DELETE FROM {other};",
            "raises": "SELECT RAISE(ABORT, 'no\n\x1b[31m');",
            "ignores": "SELECT RAISE(IGNORE);",
        }
        kind = draw.choice(list(kinds))
        connection.execute(f"CREATE TRIGGER evil {when} {event} ON {table} BEGIN {kinds[kind]} END")
        return f"{when} {event} on {table} a trigger {kind}"


def columns(draw: random.Random, file: Path) -> str:
    """Columns that are computed, and indexes of expressions that take for ever."""
    with closing(_open(file)) as connection:
        table = draw.choice(_tables(connection))
        kinds = {
            "a computed column": f"ALTER TABLE {table} ADD COLUMN evil AS (length(zeroblob(900000000)))",
            "a column with a default": f"ALTER TABLE {table} ADD COLUMN evil DEFAULT 7",
            "an index of an expression": f"CREATE INDEX evil ON {table} ((hex(zeroblob(1000))))",
            "a partial index": f"CREATE INDEX evil ON {table} (1) WHERE 1",
            "a table more": "CREATE TABLE evil AS SELECT 1",
            "a virtual table": "CREATE VIRTUAL TABLE evil USING fts5(a)",
        }
        kind = draw.choice(list(kinds))
        with suppress(sqlite3.Error):
            connection.execute(kinds[kind])
        return f"{table} with {kind}"


def schema(draw: random.Random, file: Path) -> str:
    """The text of the schema itself is changed."""
    with closing(_open(file)) as connection:
        tables = _tables(connection)
        table, other = draw.choice(tables), draw.choice(tables)
        connection.execute("PRAGMA writable_schema = ON")
        kinds: dict[str, tuple[str, tuple[Any, ...]]] = {
            f"{table} stands where {other} does": (
                (
                    "UPDATE sqlite_master SET rootpage = (SELECT rootpage FROM sqlite_master WHERE name = ?)"
                    " WHERE name = ?"
                ),
                (other, table),
            ),
            f"{table} stands on page 1": ("UPDATE sqlite_master SET rootpage = 1 WHERE name = ?", (table,)),
            f"{table} stands nowhere": ("UPDATE sqlite_master SET rootpage = 99999 WHERE name = ?", (table,)),
            f"{table} is no SQL": ("UPDATE sqlite_master SET sql = 'CREATE TABLE (' WHERE name = ?", (table,)),
            f"{table} without constraints": (
                "UPDATE sqlite_master SET sql = replace(replace(sql, 'NOT NULL', ''), 'UNIQUE', '') WHERE name = ?",
                (table,),
            ),
            f"{table} of other types": (
                (
                    "UPDATE sqlite_master SET sql = replace(replace(sql, 'INTEGER', 'TEXT'), 'BLOB', 'REAL')"
                    " WHERE name = ?"
                ),
                (table,),
            ),
            f"{table} is gone": ("DELETE FROM sqlite_master WHERE tbl_name = ?", (table,)),
            f"{table} has computed columns": (
                "UPDATE sqlite_master SET sql = replace(sql, ' NOT NULL', ' AS (1)') WHERE name = ?",
                (table,),
            ),
        }
        kind = draw.choice(list(kinds))
        connection.execute(*kinds[kind])
        return kind


def odd_values(draw: random.Random, file: Path) -> str:
    """A value of another type, size or shape, in any place; half the time with the row's checksum made anew."""
    with closing(_open(file)) as connection:
        table = draw.choice(_tables(connection))
        column = draw.choice(_columns(connection, table))
        value = draw.choice(VALUES)
        connection.execute("PRAGMA writable_schema = ON")  # constraints that would stop us are taken out
        connection.execute(
            "UPDATE sqlite_master SET sql = replace(sql, ' NOT NULL', '')"
            " WHERE type = 'table' AND sql LIKE 'CREATE TABLE%'"
        )
        connection.execute("PRAGMA writable_schema = RESET")
        place = f"WHERE rowid IN (SELECT rowid FROM {table} ORDER BY random() LIMIT {draw.choice((1, 3, 1000))})"
        cast = draw.choice(("?", "?", "CAST(? AS TEXT)", "CAST(? AS BLOB)"))
        try:
            connection.execute(f'UPDATE OR REPLACE {table} SET "{column}" = {cast} {place}', (value,))
        except sqlite3.Error:  # no rowid there, or a rowid that takes numbers only
            with suppress(sqlite3.Error):
                connection.execute(f'UPDATE OR IGNORE {table} SET "{column}" = {cast}', (value,))
        if draw.random() < 0.5:
            with suppress(sqlite3.Error, ImportError, TypeError, ValueError, AttributeError):
                _renew_row_checksums(connection)
        return f"{table}.{column} is {str(value)[:40]!r} ({type(value).__name__}) by {cast}"


def _renew_row_checksums(connection: sqlite3.Connection) -> None:
    from hashgrain.store import catalogue, parts
    from hashgrain.store.items import COLUMNS, with_checksum

    for row in connection.execute(f"SELECT {COLUMNS} FROM items").fetchall():
        connection.execute("UPDATE items SET seal = ? WHERE id = ?", (with_checksum(row)[-1], row[0]))
    for item, code in connection.execute("SELECT item, code FROM rows").fetchall():
        connection.execute("UPDATE rows SET seal = ? WHERE item = ?", (catalogue.code_checksum(item, code), item))
    for item, *entry in connection.execute("SELECT item, rows, code, positions FROM parts").fetchall():
        connection.execute("UPDATE parts SET seal = ? WHERE item = ?", (parts.parts_checksum(item, *entry), item))


def too_much(draw: random.Random, file: Path) -> str:
    """Rows and values past all measure."""
    with closing(_open(file)) as connection:
        tables = [name for name in _tables(connection) if name != "facts"]
        table = draw.choice(tables)
        names = _columns(connection, table)
        if draw.random() < 0.5:
            size = draw.choice((5_000_000, 60_000_000))
            column = draw.choice(names)
            with suppress(sqlite3.Error):
                connection.execute(f'UPDATE {table} SET "{column}" = zeroblob({size})')
            return f"{table}.{column} is {size} zeros"
        count = draw.choice((3_000, 60_000))
        values = ", ".join("n + 1000" if draw.random() < 0.7 else "zeroblob(40)" for _ in names)
        with suppress(sqlite3.Error):
            connection.execute(
                f"INSERT OR IGNORE INTO {table} WITH RECURSIVE e(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM e"
                f" WHERE n < {count}) SELECT {values} FROM e"
            )
        return f"{table} with {count} rows more"


def numbers(draw: random.Random, file: Path) -> str:
    """The facts, counters and SQLite's own numbers."""
    value = draw.choice(VALUES)
    with closing(_open(file)) as connection:
        if draw.random() < 0.2:
            with suppress(sqlite3.Error):
                connection.execute("UPDATE sqlite_sequence SET seq = ?", (value,))
            return f"the next id is {str(value)[:40]!r}"
        keys = [key for (key,) in connection.execute("SELECT key FROM facts ORDER BY key")]
        key = draw.choice([*keys, "unknown"])
        connection.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (key, value))
        if draw.random() < 0.5:
            with suppress(Exception):
                _renew_facts_checksum(connection)
        return f"fact {key} is {str(value)[:40]!r} ({type(value).__name__})"


def _renew_facts_checksum(connection: sqlite3.Connection) -> None:
    from hashgrain.store import catalogue

    found = dict(connection.execute("SELECT key, value FROM facts"))
    checksum = catalogue.facts_checksum(found["grains"], found["digest"], found["created"], found.get("grid"))
    connection.execute("UPDATE facts SET value = ? WHERE key = 'seal'", (checksum,))


def trees(draw: random.Random, file: Path) -> str:
    """Pages that point to themselves, to each other, or nowhere."""
    with closing(_open(file)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        if draw.random() < 0.7:  # more pages than one: only then has a tree branches
            with suppress(sqlite3.Error):
                connection.execute("DROP INDEX IF EXISTS items_by_content")
                connection.execute(
                    "INSERT INTO dead WITH RECURSIVE e(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM e WHERE n < 3000)"
                    " SELECT n + 1000, n + 1000, n FROM e"
                )
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    content = bytearray(file.read_bytes())
    pages = len(content) // PAGE
    inner = [page for page in range(pages) if content[page * PAGE + (100 if page == 0 else 0)] in (2, 5)]
    page = draw.choice(inner) if inner and draw.random() < 0.8 else draw.randrange(pages)
    start = page * PAGE
    head = start + (100 if page == 0 else 0)
    target = draw.choice([page + 1, draw.randrange(pages) + 1, 1, 0, 2**31, pages])
    how = draw.randrange(6)
    if page in inner and how < 2:
        struct.pack_into(">I", content, head + 8, target)
        what = f"page {page + 1}: its right child is {target}"
    elif page in inner and how < 4:
        cells = struct.unpack_from(">H", content, head + 3)[0]
        for cell in range(cells):
            at = start + struct.unpack_from(">H", content, head + 12 + 2 * cell)[0]
            if at + 4 <= len(content):
                struct.pack_into(">I", content, at, target)
        what = f"page {page + 1}: all its {cells} children are {target}"
    elif how == 4:
        struct.pack_into(">H", content, head + 3, draw.choice((0, 1, 0xFFFF, 2000)))
        what = f"page {page + 1}: another number of cells"
    else:
        at = head + draw.randrange(12)
        content[at] = draw.randrange(256)
        what = f"page {page + 1}: byte {at - start} of its head is {content[at]}"
    file.write_bytes(content)
    return what


def header(draw: random.Random, file: Path) -> str:
    content = bytearray(file.read_bytes())
    at = draw.choice((16, 17, 18, 19, 20, 21, 24, 28, 31, 32, 36, 40, 44, 47, 52, 56, 59, 60, 63, 68, 92, 96))
    content[at] = draw.choice((0, 1, 2, 3, 5, 64, 127, 255))
    file.write_bytes(content)
    return f"byte {at} of the header is {content[at]}"


def noise(draw: random.Random, file: Path) -> str:
    content = bytearray(file.read_bytes())
    count = draw.choice((1, 4, 30, 400))
    for _ in range(count):
        content[draw.randrange(100, len(content))] = draw.randrange(256)
    if draw.random() < 0.2:
        del content[draw.randrange(100, len(content)) :]
    file.write_bytes(content)
    return f"{count} bytes of noise, {len(content)} bytes"


ATTACKS: dict[str, tuple[Callable[[random.Random, Path], str], int]] = {
    "view": (views, 3),
    "trigger": (triggers, 3),
    "column": (columns, 1),
    "schema": (schema, 2),
    "odd value": (odd_values, 7),
    "too much": (too_much, 1),
    "numbers": (numbers, 3),
    "tree": (trees, 5),
    "header": (header, 2),
    "noise": (noise, 3),
}
