"""What a reader sees: segments, items and filters, all of one moment."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hashgrain.codes import Words
from hashgrain.errors import ItemMissingError, LibraryDamagedError, LibraryError, Remedy
from hashgrain.store import catalogue, change_log
from hashgrain.store.catalogue import Block, Connection, Counters
from hashgrain.store.change_log import Change
from hashgrain.store.items import COLUMNS, Item, item_of
from hashgrain.store.names import refuse_unclear
from hashgrain.store.segments import FOLDER, Place, Segment, bad_blocks, map_segment, places, sealed
from hashgrain.store.trouble import FROM_BACKUP, MendableError, index_damaged, told
from hashgrain.store.where import Filter, compile_where

BY_PATH = f"SELECT {COLUMNS}, seal FROM items WHERE path"
AT_ONCE = 500  # ids asked for in one statement; SQLite takes at least 999


@dataclass(frozen=True, eq=False)
class View:
    """The segments of one moment, kept from one snapshot to the next and grown by what is new."""

    counters: Counters
    places: tuple[Place, ...]
    segments: tuple[Segment, ...]
    identity: tuple[int, int] = (0, 0)  # of the catalogue's file: a library put in its place shares nothing with it


def view_of(connection: Connection, library: Path, n_words: int, old: View | None) -> View:
    """The view at the moment of the read transaction; what `old` has checked is not checked again."""
    counters = catalogue.counters(connection, library)
    if old is not None and (old.identity != connection.identity or any(segment.cut() for segment in old.segments)):
        old = None  # to be mapped again; of a file that was cut short this says what is wrong
    if old is not None and old.counters == counters:
        return old
    if old is None or old.counters.era != counters.era:
        old = View(Counters(counters.era, 0, 0, 0), (), ())
    since = old.places[-1].number if old.places else 0
    committed = dict(zip(old.places[:-1], old.segments[:-1], strict=True))
    for place, blocks in places(catalogue.blocks(connection, library, n_words, since), n_words):
        known = old.segments[-1] if old.places and place.number == since else None
        committed[place] = _grown(library, place, blocks, known)
    _check_rows(library, list(committed), counters)
    alive = _bury(connection, library, committed, old.counters.dead, counters.dead)
    return View(counters, tuple(committed), tuple(alive), connection.identity)


def _grown(library: Path, place: Place, blocks: Sequence[Block], known: Segment | None) -> Segment:
    checked = 0 if known is None else len(known.ids)
    if known is not None and checked == place.rows:
        return known
    mapped = map_segment(library, place)
    for damage in bad_blocks(library, mapped, [b for b in blocks if b.end > place.first_row + checked]):
        raise damage
    ids, planes = mapped.arrays()
    alive = np.ones(place.rows, np.bool_)
    if known is not None:
        alive[:checked] = known.alive
    alive.flags.writeable = False
    return Segment(place.first_row, ids, planes, alive, mapped.files)


def _check_rows(library: Path, committed: Sequence[Place], counters: Counters) -> None:
    """The blocks must tile all rows: one that SQLite lost without noticing must not shorten the answers."""
    expected = 0
    for place in committed:
        if place.first_row != expected:
            break
        expected += place.rows
    if expected != counters.rows:
        reason = f"the list of blocks is damaged ({expected} of {counters.rows} rows)"
        raise MendableError(library, library / catalogue.NAME, reason)


def _bury(
    connection: Connection, library: Path, committed: Mapping[Place, Segment], seen: int, dead: int
) -> Iterator[Segment]:
    """The segments with the rows that died since out of `alive`; arrays handed out stay as they are."""
    query = "SELECT row, item FROM dead WHERE number > ? ORDER BY row"
    found = connection.all(query, (seen,))
    damage = MendableError(library, library / catalogue.NAME, "the list of removed rows is damaged")
    if any(not isinstance(number, int) for pair in found for number in pair):
        raise damage
    rows, items = np.array(found, np.int64).reshape(-1, 2).T
    buried = 0
    for place, segment in committed.items():
        first, end = np.searchsorted(rows, [place.first_row, place.first_row + place.rows])
        if first == end:
            yield segment
            continue
        at = rows[first:end] - place.first_row
        if not np.array_equal(segment.ids[at], items[first:end]):
            break
        buried += int(end - first)
        yield segment.without(at)
    if buried != dead - seen:
        raise damage


class Snapshot:
    """One consistent view of a library. Its arrays stay good after it ends; its questions do not.

    May be used from several threads.
    """

    def __init__(
        self,
        connection: Connection,
        library: Path,
        n_words: int,
        view: View,
        check_pages: Callable[[], None] = lambda: None,
    ) -> None:
        self._connection: Connection | None = connection
        self._library = library
        self._n_words = n_words
        self._live = view.counters.rows - view.counters.dead
        self._lock = threading.Lock()
        self._check_pages = check_pages  # before what only the pages of the catalogue can answer
        self.segments: Sequence[Segment] = view.segments
        self.era = view.counters.era
        self.sequence = view.counters.sequence  # the number of the last entry of the log of changes

    def end(self) -> None:
        with self._lock:
            self._connection = None

    def __len__(self) -> int:
        return self._live

    def check_segments(self) -> None:
        """Raise where a segment was cut short while it was searched; to be asked before an answer is given."""
        if any(segment.cut() for segment in self.segments):
            raise MendableError(self._library, self._library / FOLDER, "a file was cut short while it was read")

    def sealed(self) -> list[Block]:
        """The blocks that cannot grow any more, in the order of their rows.

        With `era` they tell what is made from these rows (an index) whether it still belongs to them: rows of a
        sealed block stay as they are until a rebuild, which begins a new era. Only whether they live may change.
        """
        with self._asked() as connection:
            return sealed(catalogue.blocks(connection, self._library, self._n_words))

    def history(self) -> str:
        """The name of the history that `sequence` and the numbers of changes belong to."""
        with self._asked() as connection:
            return change_log.history(connection)

    def changes(self, since: int) -> Iterator[Change]:
        """What happened to codes after the change of that number, in order; all that is there after 0."""
        return change_log.changes_since(self._ask, self._library, self._n_words, since)

    def items(self, ids: Iterable[int]) -> list[Item]:
        """The items of these ids, in the order asked. An id that is not there is an error."""
        return [item_of(row, self._library) for row in self._each(f"{COLUMNS}, seal FROM items", "id", ids)]

    def item(self, id: int) -> Item | None:
        rows = self._found(f"{COLUMNS}, seal FROM items", "id", [int(id)])
        return item_of(rows[0], self._library) if rows else None

    def codes(self, ids: Iterable[int]) -> Words:
        """(n, n_words): the codes of these ids, in the order asked. An id that is not there is an error."""
        rows = self._each("item, code, seal FROM rows", "item", ids)
        whole = b"".join(self._sound(*row) for row in rows)
        return np.frombuffer(whole, "<u8").astype(np.uint64).reshape(-1, self._n_words)

    def code(self, id: int) -> Words | None:
        """The code of an item: one row of words."""
        rows = self._found("item, code, seal FROM rows", "item", [int(id)])
        return np.frombuffer(self._sound(*rows[0]), "<u8").astype(np.uint64) if rows else None

    def paths(self) -> Iterator[Item]:
        """Every item, by path."""
        self._check_pages()
        after, count = b"", 0
        while True:
            query = f"SELECT {COLUMNS}, seal FROM items WHERE path > ? ORDER BY path LIMIT {AT_ONCE}"
            rows = self._ask(query, (after,))
            for row in rows:
                yield item_of(row, self._library)
            count += len(rows)
            if len(rows) < AT_ONCE or count > self._live:
                break
            after = rows[-1][1]
        if count != self._live:
            reason = f"{count} of {self._live} items are listed"
            raise LibraryDamagedError(
                f"{self._library}: the catalogue is damaged ({reason})", remedy=FROM_BACKUP, path=self._library
            )

    def at_path(self, path: bytes) -> list[int]:
        """The id of the item at this path, by the index on paths."""
        self._check_pages()
        return self._ids(self._ask(f"{BY_PATH} = ?", (path,)), path, path + b"\0")

    def below(self, folder: bytes) -> Iterator[int]:
        """The ids of all items whose path begins with that of a folder, its separator included."""
        self._check_pages()
        end = folder[:-1] + bytes([folder[-1] + 1])  # the least path that does not begin so
        query = f"{BY_PATH} {{}} ? AND path < ? ORDER BY path LIMIT {AT_ONCE}"
        rows = self._ask(query.format(">="), (folder, end))
        while rows:
            yield from self._ids(rows, folder, end)
            rows = self._ask(query.format(">"), (rows[-1][1], end)) if len(rows) == AT_ONCE else []

    def _ids(self, rows: list[tuple[Any, ...]], least: bytes, end: bytes) -> list[int]:
        """The ids of rows that the index on paths led to, from one path to before another."""
        if not all(least <= row[1] < end for row in rows):
            raise index_damaged(self._library)
        return [item_of(row, self._library).id for row in rows]

    def select(self, where: str | Mapping[str, Any] | Filter) -> NDArray[np.int64]:
        """The sorted ids of the items for which the filter holds. See `where` for its language."""
        self._check_pages()
        condition, values = compile_where(where, self._ask)
        rows = self._ask(f"SELECT id FROM items WHERE {condition} ORDER BY id", values)
        return np.fromiter((row[0] for row in rows), np.int64, len(rows))

    def check_names(self, where: Filter) -> None:
        """FilterError where the filter has a name that no item has, or that means two things; `select` sees to it by
        itself."""
        self._check_pages()
        refuse_unclear(where.test, self._ask)

    def _sound(self, item: int, code: bytes, seal: int) -> bytes:
        return catalogue.sound_code(self._library, self._n_words, item, code, seal)

    def _each(self, columns: str, key: str, ids: Iterable[int]) -> list[tuple[Any, ...]]:
        """The rows of these ids in the order asked; all must be there."""
        wanted = [int(each) for each in ids]
        found = {row[0]: row for row in self._found(columns, key, wanted)}
        for each in wanted:
            if each not in found:
                remedy = Remedy("its hits and items have their ids", "show_ids")
                raise ItemMissingError(f"{self._library} has no item {each}", path=self._library, remedy=remedy)
        return [found[each] for each in wanted]

    def _found(self, columns: str, key: str, ids: Sequence[int]) -> list[tuple[Any, ...]]:
        """The rows of those ids that are there. The key is their first column."""
        possible = [each for each in ids if 0 < each < 2**63]
        rows: list[tuple[Any, ...]] = []
        for start in range(0, len(possible), AT_ONCE):
            some = possible[start : start + AT_ONCE]
            rows += self._ask(f"SELECT {columns} WHERE {key} IN ({','.join('?' * len(some))})", some)
        return rows

    def _ask(self, query: str, values: Sequence[Any] | Mapping[str, Any]) -> list[tuple[Any, ...]]:
        with self._asked() as connection:
            return connection.all(query, values)

    @contextmanager
    def _asked(self) -> Iterator[Connection]:
        """The connection, for one question at a time."""
        with self._lock, told(self._library):
            if self._connection is None:
                raise LibraryError(f"{self._library}: this snapshot has ended; take another", path=self._library)
            yield self._connection
