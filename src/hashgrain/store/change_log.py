"""The ordered log of changes to codes, from which engines with codes of their own are updated.

Each entry has a number, one more than the last, and says that one item was added, changed or removed. Codes are not in
the log: an entry is read together with the code that the item has now. An engine that applies all entries after a
number, in order, then has the codes of the library. `rebuild` drops entries that a later entry of the same item makes
superfluous. The last entry of an item stays, and no number is used twice.

Numbers belong to a history, which has a name. A new history begins with another model, and after changes were lost and
made again. An engine of one history cannot continue in another.
"""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import numpy as np

from hashgrain.codes import Words
from hashgrain.store import catalogue
from hashgrain.store.errors import MendableError
from hashgrain.store.parts import parts_from_row

ChangeKind = Literal["added", "changed", "removed"]
CHANGE_KINDS: tuple[ChangeKind, ...] = get_args(ChangeKind)
NAMING = ("created", "commit", "era", "rows", "dead")  # facts that name the history of a library before format 4
AT_ONCE = 5_000  # entries in memory
AT_ONCE_WITH_PARTS = 500
NEXT = (
    "SELECT number, kind, changes.item, code, seal FROM changes LEFT JOIN rows ON rows.item = changes.item"
    " WHERE number > ? ORDER BY number LIMIT ?"
)
NEXT_WITH_PARTS = (
    "SELECT number, kind, changes.item, rows.code, rows.seal, rows, parts.code, positions, parts.seal FROM changes"
    " LEFT JOIN rows ON rows.item = changes.item LEFT JOIN parts ON parts.item = changes.item"
    " WHERE number > ? ORDER BY number LIMIT ?"
)
LAST = "SELECT item FROM (SELECT item, kind, max(number) FROM changes GROUP BY item) WHERE kind <> 'removed'"
LIVE = "SELECT item FROM rows"


class Change(NamedTuple):
    """A change of the codes of one item. `code` is its present code, None if it was removed. `parts` (n, words) are
    the present codes of its parts 1, 2, ..., None if it has none."""

    number: int
    kind: ChangeKind
    item: int
    code: Words | None
    parts: Words | None = None


def history(connection: sqlite3.Connection) -> str:
    """The name of the history; before format 4 the name that an upgrade would give it."""
    query = f"SELECT key, value FROM facts WHERE key IN {('history', *NAMING)} AND length(value) <= 100"
    facts = dict(connection.execute(query).fetchall())
    return str(facts.get("history", "/".join(str(facts.get(key, 0)) for key in NAMING)))


def record(connection: sqlite3.Connection, last: int, entries: Sequence[tuple[ChangeKind, int]]) -> int:
    """Write entries after the number `last`, within the caller's transaction; returns the number of the last one."""
    rows = [(last + offset, kind, item) for offset, (kind, item) in enumerate(entries, start=1)]
    connection.executemany("INSERT INTO changes VALUES (?, ?, ?)", rows)
    return last + len(rows)


def record_removed(connection: sqlite3.Connection, last: int, items: Sequence[int]) -> int:
    return record(connection, last, [("removed", item) for item in items])


def compact(connection: sqlite3.Connection, last: int, *, lost: bool) -> int:
    """Drop entries that later ones of the same item make superfluous; returns the last number. If changes were `lost`,
    or the log does not lead to the present items, start another history."""
    if lost or find_damage(connection, last) is not None:
        return start_history(connection)
    connection.execute("DELETE FROM changes WHERE number NOT IN (SELECT max(number) FROM changes GROUP BY item)")
    return last


def start_history(connection: sqlite3.Connection) -> int:
    """Start another history, in which all present items were added; returns its last number."""
    connection.execute("DELETE FROM changes")
    connection.execute("INSERT INTO changes (kind, item) SELECT 'added', item FROM rows ORDER BY item")
    connection.execute("UPDATE facts SET value = ? WHERE key = 'history'", (secrets.token_hex(16),))
    (last,) = connection.execute("SELECT coalesce(max(number), 0) FROM changes").fetchone()
    return int(last)


def find_damage(connection: sqlite3.Connection, last: int) -> str | None:
    """What is wrong with the log; None if it leads to the present items."""
    (highest,) = connection.execute("SELECT coalesce(max(number), 0) FROM changes").fetchone()
    if highest != last:
        return f"its last number is {highest}, and {last} is noted"
    (unreadable,) = connection.execute(
        f"SELECT count(*) FROM changes WHERE kind NOT IN {CHANGE_KINDS} OR typeof(item) <> 'integer'"
    ).fetchone()
    if unreadable:
        return f"{unreadable} of its entries do not read"
    for left, right, what in ((LIVE, LAST, "there and not in it"), (LAST, LIVE, "in it and not there")):
        (differing,) = connection.execute(f"SELECT count(*) FROM ({left} EXCEPT {right})").fetchone()
        if differing:
            return f"{differing} items are {what}"
    return None


def changes_since(
    query: Callable[[str, Sequence[Any]], Iterable[tuple[Any, ...]]],
    library: Path,
    n_words: int,
    number: int,
    *,
    parts: bool = False,
) -> Iterator[Change]:
    """The entries after a number, in order; with the codes of parts if `parts` is set."""
    statement, limit = (NEXT_WITH_PARTS, AT_ONCE_WITH_PARTS) if parts else (NEXT, AT_ONCE)
    while rows := list(query(statement, (number, limit))):
        for entry_number, kind, item, code, checksum, *parts_values in rows:
            if kind not in CHANGE_KINDS or not isinstance(item, int) or entry_number <= number:
                raise MendableError(library, library / catalogue.NAME, "the log of changes is damaged")
            number = entry_number
            if code is None:
                yield Change(number, "removed", item, None)
            else:
                words = np.frombuffer(catalogue.sound_code(library, n_words, item, code, checksum), "<u8")
                has_parts = bool(parts_values) and parts_values[0] is not None
                parts_codes = parts_from_row(library, n_words, item, *parts_values).codes if has_parts else None
                yield Change(number, kind, item, words.astype(np.uint64), parts_codes)
