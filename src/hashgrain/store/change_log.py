"""The ordered log of what happened to codes, from which an engine that keeps codes of its own is fed.

Each entry has a number, one more than the last, and says of one item that it was added, that its code changed, or that
it was removed. Codes are not in the log: an entry is told with the code that the item has by now, so that whoever
applies all entries after a number, in order, has what the library has. An entry that a later one of the same item makes
superfluous may be dropped, which `rebuild` does; the last entry of an item stays, and no number is used twice.

Numbers belong to a history, which has a name of its own. Another begins where codes are not what the entries led to:
with another model, and where changes were lost and made again. Who was fed from one history cannot go on in another.
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
from hashgrain.store.parts import parts_of

Kind = Literal["added", "changed", "removed"]
KINDS: tuple[Kind, ...] = get_args(Kind)
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
    """What happened to the codes of one item. `code` is the one that it has by now; None where it has none any more.
    `parts` are those of its parts 1, 2, ... (n, words), by now, too; None where it has none."""

    number: int
    kind: Kind
    item: int
    code: Words | None
    parts: Words | None = None


def history(connection: sqlite3.Connection) -> str:
    """The name of the history; before format 4 as an upgrade names it."""
    names = "('history', 'created', 'commit')"
    query = f"SELECT key, value FROM facts WHERE key IN {names} AND length(value) <= 100"
    found = dict(connection.execute(query).fetchall())
    return str(found.get("history", f"{found.get('created')}/{found.get('commit', 0)}"))


def record(connection: sqlite3.Connection, last: int, happened: Sequence[tuple[Kind, int]]) -> int:
    """Write entries after the number `last`, within the caller's transaction; the number of the last one."""
    entries = [(last + place, kind, item) for place, (kind, item) in enumerate(happened, start=1)]
    connection.executemany("INSERT INTO changes VALUES (?, ?, ?)", entries)
    return last + len(entries)


def record_removed(connection: sqlite3.Connection, last: int, items: Sequence[int]) -> int:
    return record(connection, last, [("removed", item) for item in items])


def tidy(connection: sqlite3.Connection, last: int, *, lost: bool) -> int:
    """Drop the entries that later ones of the same item make superfluous. Another history begins where changes were
    `lost`, or the log does not lead to the items that there are. The last number."""
    if lost or damage(connection, last) is not None:
        return begin_anew(connection)
    connection.execute("DELETE FROM changes WHERE number NOT IN (SELECT max(number) FROM changes GROUP BY item)")
    return last


def begin_anew(connection: sqlite3.Connection) -> int:
    """Another history, in which all items that there are were added; its last number."""
    connection.execute("DELETE FROM changes")
    connection.execute("INSERT INTO changes (kind, item) SELECT 'added', item FROM rows ORDER BY item")
    connection.execute("UPDATE facts SET value = ? WHERE key = 'history'", (secrets.token_hex(16),))
    (last,) = connection.execute("SELECT coalesce(max(number), 0) FROM changes").fetchone()
    return int(last)


def damage(connection: sqlite3.Connection, last: int) -> str | None:
    """What is wrong with the log; None where it leads to the items that there are."""
    (highest,) = connection.execute("SELECT coalesce(max(number), 0) FROM changes").fetchone()
    if highest != last:
        return f"its last number is {highest}, and {last} is noted"
    (odd,) = connection.execute(
        f"SELECT count(*) FROM changes WHERE kind NOT IN {KINDS} OR typeof(item) <> 'integer'"
    ).fetchone()
    if odd:
        return f"{odd} of its entries do not read"
    for one, other, what in ((LIVE, LAST, "there and not in it"), (LAST, LIVE, "in it and not there")):
        (unlike,) = connection.execute(f"SELECT count(*) FROM ({one} EXCEPT {other})").fetchone()
        if unlike:
            return f"{unlike} items are {what}"
    return None


def changes_since(
    ask: Callable[[str, Sequence[Any]], Iterable[tuple[Any, ...]]],
    library: Path,
    n_words: int,
    number: int,
    *,
    parts: bool = False,
) -> Iterator[Change]:
    """The entries after a number, in order; with codes of parts, where any item has some."""
    query, limit = (NEXT_WITH_PARTS, AT_ONCE_WITH_PARTS) if parts else (NEXT, AT_ONCE)
    while rows := list(ask(query, (number, limit))):
        for found, kind, item, code, seal, *entry in rows:
            if kind not in KINDS or not isinstance(item, int) or found <= number:
                raise MendableError(library, library / catalogue.NAME, "the log of changes is damaged")
            number = found
            if code is None:
                yield Change(number, "removed", item, None)
            else:
                words = np.frombuffer(catalogue.sound_code(library, n_words, item, code, seal), "<u8")
                some = parts_of(library, n_words, item, *entry).codes if entry and entry[0] is not None else None
                yield Change(number, kind, item, words.astype(np.uint64), some)
