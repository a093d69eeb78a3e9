"""What a reader sees: segments, items and filters, all of one moment."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hashgrain.codes import Words
from hashgrain.errors import ItemMissingError, LibraryDamagedError, LibraryError, Remedy
from hashgrain.store import catalogue, change_log
from hashgrain.store.blocks import Block, read_blocks
from hashgrain.store.catalogue import Connection, Facts
from hashgrain.store.change_log import Change
from hashgrain.store.errors import FROM_BACKUP, MendableError, index_damaged, told
from hashgrain.store.field_names import refuse_unclear
from hashgrain.store.filter_parser import Filter, compile_where
from hashgrain.store.items import COLUMNS, Item, item_of
from hashgrain.store.parts import Grid, Parts, parts_of
from hashgrain.store.segments import FOLDER, Segment, sealed
from hashgrain.store.spaces import PARTS, WHOLE
from hashgrain.store.view_cache import Moment
from hashgrain.store.views import View

BY_PATH = f"SELECT {COLUMNS}, seal FROM items WHERE path"
AT_ONCE = 500  # ids asked for in one statement; SQLite takes at least 999


class Snapshot:
    """One consistent view of a library. Its arrays stay good after it ends; its questions do not.

    May be used from several threads.
    """

    def __init__(
        self,
        library: Path,
        facts: Facts,
        moment: Moment,
        view_parts: Callable[[Moment], View],
        check_pages: Callable[[], None] = lambda: None,
    ) -> None:
        self._connection: Connection | None = moment.connection
        self.path = self._library = library
        self._n_words = facts.grains.n_words
        self._moment = moment
        self._counters = moment.counters
        self._live = moment.counters.whole.rows - moment.counters.whole.dead
        self._lock = threading.Lock()
        self._view_parts = view_parts
        self._parts = moment.views.get(PARTS)
        self._check_pages = check_pages  # before what only the pages of the catalogue can answer
        self.segments: Sequence[Segment] = moment.views[WHOLE].segments
        self.era = moment.counters.era
        self.sequence = moment.counters.sequence  # the number of the last entry of the log of changes
        self.grid: Grid | None = facts.grid  # boxes or spans of the parts of an item without positions of its own

    def end(self) -> None:
        with self._lock:
            self._connection = None

    def __len__(self) -> int:
        return self._live

    def check_segments(self) -> None:
        """Raise where a segment was cut short while it was searched; to be asked before an answer is given."""
        mapped = [*self.segments, *(() if self._parts is None else self._parts.segments)]
        if any(segment.cut() for segment in mapped):
            raise MendableError(self._library, self._library / FOLDER, "a file was cut short while it was read")

    @property
    def part_segments(self) -> Sequence[Segment]:
        """The codes of the parts 1, 2, ... of all items. The id of a row is that of its item, times 2**16, plus the
        number of the part. They are mapped when they are first asked for, since few questions need them."""
        if self._parts is None:
            with self._asked():
                self._parts = self._view_parts(self._moment)
        return self._parts.segments

    @property
    def has_parts(self) -> bool:
        """Whether any item has parts, or had some since the last rebuild."""
        return self._counters.parts.rows > 0

    def sealed(self, *, parts: bool = False) -> list[Block]:
        """The blocks that cannot grow any more, in the order of their rows.

        With `era` they tell what is made from these rows (an index) whether it still belongs to them: rows of a
        sealed block stay as they are until a rebuild, which begins a new era. Only whether they live may change.
        """
        with self._asked() as connection:
            return sealed(read_blocks(connection, self._library, PARTS if parts else WHOLE, self._n_words))

    def history(self) -> str:
        """The name of the history that `sequence` and the numbers of changes belong to."""
        with self._asked() as connection:
            return change_log.history(connection)

    def changes(self, since: int) -> Iterator[Change]:
        """What happened to codes after the change of that number, in order; all that is there after 0."""
        return change_log.changes_since(self._ask, self._library, self._n_words, since, parts=self.has_parts)

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

    def parts_of(self, ids: Iterable[int]) -> list[Parts | None]:
        """The parts of these items, in the order asked; None for an item that has none."""
        wanted = [int(each) for each in ids]
        if not self.has_parts:
            return [None] * len(wanted)
        rows = self._found("item, rows, code, positions, seal FROM parts", "item", sorted(set(wanted)))
        found = {row[0]: parts_of(self._library, self._n_words, *row) for row in rows}
        return [found.get(each) for each in wanted]

    def with_parts(self) -> NDArray[np.int64]:
        """The sorted ids of the items that have parts."""
        rows = self._ask("SELECT item FROM parts ORDER BY item", ()) if self.has_parts else []
        return np.fromiter((row[0] for row in rows), np.int64, len(rows))

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
