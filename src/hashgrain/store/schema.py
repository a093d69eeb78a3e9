"""The tables of the catalogue: those of format 2, the changes of each later format, and a check of the schema.

A catalogue may come from a stranger and can contain SQL: an endless view in place of a table, a trigger on every
insert. So before any query, its schema must be, word for word, one that we make.
"""

from __future__ import annotations

import sqlite3
from functools import cache

FORMAT = 4
OLDEST = 2  # the oldest format that is read, and upgraded by the first writer
APPLICATION_ID = int.from_bytes(b"HGrn", "big")

FIRST = """
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
UPGRADES = {
    3: """
ALTER TABLE items ADD COLUMN details TEXT;
CREATE TABLE refusals (
    path BLOB PRIMARY KEY, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, reason TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE exclusions (path BLOB PRIMARY KEY) WITHOUT ROWID;
INSERT INTO facts VALUES ('commit', 0);
""",
    # The log begins with all present items; `MISSING` numbers them the same. A new catalogue has no facts yet.
    4: """
-- The parts of an item beside the whole: codes of all of them in one blob, which are rows in segments of their own.
CREATE TABLE parts (
    row INTEGER PRIMARY KEY, item INTEGER NOT NULL UNIQUE REFERENCES items (id), rows INTEGER NOT NULL,
    code BLOB NOT NULL, positions BLOB, seal INTEGER NOT NULL
);
CREATE TABLE part_blocks (
    segment INTEGER NOT NULL, first_row INTEGER NOT NULL, rows INTEGER NOT NULL, crcs BLOB NOT NULL,
    PRIMARY KEY (segment, first_row)
) WITHOUT ROWID;
CREATE TABLE part_dead (
    number INTEGER PRIMARY KEY, row INTEGER NOT NULL UNIQUE, item INTEGER NOT NULL, rows INTEGER NOT NULL
);
INSERT INTO facts SELECT 'part_' || key, 0 FROM facts WHERE key IN ('rows', 'dead', 'segment');
CREATE TABLE changes (number INTEGER PRIMARY KEY, kind TEXT NOT NULL, item INTEGER NOT NULL);
INSERT INTO changes SELECT row + 1, 'added', item FROM rows;
INSERT INTO facts SELECT 'sequence', coalesce((SELECT max(number) FROM changes), 0) FROM facts WHERE key = 'rows';
-- Format 2 counts no commits: where codes stand tells apart what it may have become since it was last of this format.
INSERT INTO facts SELECT 'history',
    made.value || '/' || at.value || '/' || era.value || '/' || reached.value || '/' || gone.value
    FROM facts AS made, facts AS at, facts AS era, facts AS reached, facts AS gone
    WHERE made.key = 'created' AND at.key = 'commit' AND era.key = 'era' AND reached.key = 'rows' AND gone.key = 'dead';
""",
}
# Back to the previous format, if nothing is lost by it: see `MORE`.
DOWNGRADES = {
    4: """
DROP TABLE changes;
DROP TABLE parts;
DROP TABLE part_blocks;
DROP TABLE part_dead;
DELETE FROM facts WHERE key IN ('sequence', 'history', 'part_rows', 'part_dead', 'part_segment');
""",
    3: """
ALTER TABLE items DROP COLUMN details;
DROP TABLE refusals;
DROP TABLE exclusions;
DELETE FROM facts WHERE key = 'commit';
""",
}
# What a format has that the previous one cannot hold: a query that counts it, and what to call it.
MORE = {
    4: (
        ("SELECT count(*) FROM parts", "items with parts"),
        ("SELECT count(*) FROM items WHERE width = 0 OR height = 0", "items without width and height"),
    ),
    3: (
        ("SELECT count(*) FROM items WHERE details IS NOT NULL", "items with details of their files"),
        ("SELECT count(*) FROM exclusions", "files that were taken out by hand"),
    ),
}
# Stand-ins, for readers of a format, for what the next format adds.
MISSING = {
    2: """
CREATE TEMP VIEW items AS SELECT *, NULL AS details FROM main.items;
CREATE TEMP TABLE refusals (
    path BLOB PRIMARY KEY, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, reason TEXT NOT NULL
) WITHOUT ROWID;
CREATE TEMP TABLE exclusions (path BLOB PRIMARY KEY) WITHOUT ROWID;
""",
    3: """
CREATE TEMP VIEW changes AS SELECT row + 1 AS number, 'added' AS kind, item FROM main.rows;
CREATE TEMP VIEW parts AS
    SELECT 0 AS row, 0 AS item, 0 AS rows, NULL AS code, NULL AS positions, 0 AS seal WHERE 0;
CREATE TEMP VIEW part_blocks AS SELECT 0 AS segment, 0 AS first_row, 0 AS rows, NULL AS crcs WHERE 0;
CREATE TEMP VIEW part_dead AS SELECT 0 AS number, 0 AS row, 0 AS item, 0 AS rows WHERE 0;
""",
}
MOST_ENTRIES = 50  # entries of a schema to read: ours have eighteen


def create(connection: sqlite3.Connection) -> None:
    """Make the tables of the newest format in an empty database, within the caller's transaction."""
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    _run(connection, FIRST)
    upgrade(connection, OLDEST)


def upgrade(connection: sqlite3.Connection, version: int) -> None:
    """Upgrade an older format to the newest, within the caller's transaction."""
    for each in range(version + 1, FORMAT + 1):
        _run(connection, UPGRADES[each])
    connection.execute(f"PRAGMA user_version = {FORMAT}")


def downgrade(connection: sqlite3.Connection, version: int) -> None:
    """Convert a format to the previous one, within the caller's transaction."""
    _run(connection, DOWNGRADES[version])
    connection.execute(f"PRAGMA user_version = {version - 1}")


def stand_in(connection: sqlite3.Connection, version: int) -> None:
    """Make a connection to an older format answer as if it were the newest."""
    for each in range(version, FORMAT):
        _run(connection, MISSING[each])


def is_ours(connection: sqlite3.Connection, version: int) -> bool:
    return _entries(connection) == _expected(version)


def _run(connection: sqlite3.Connection, script: str) -> None:
    """Run a script one statement at a time, since `executescript` would commit first."""
    lines = [line for line in script.splitlines() if not line.startswith("--")]
    for statement in "\n".join(lines).split(";\n"):
        if statement.strip():
            connection.execute(statement)


def _entries(connection: sqlite3.Connection) -> list[tuple[object, ...]]:
    query = f"SELECT type, name, tbl_name, sql FROM main.sqlite_master LIMIT {MOST_ENTRIES}"
    return sorted(connection.execute(query).fetchall(), key=repr)


@cache
def _expected(version: int) -> list[tuple[object, ...]]:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    try:
        _run(connection, FIRST)
        for each in range(OLDEST + 1, version + 1):
            _run(connection, UPGRADES[each])
        return _entries(connection)
    finally:
        connection.close()
