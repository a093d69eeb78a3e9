"""A snapshot: the segments and items of one moment, and filters over them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hashgrain.codes import Words
from hashgrain.errors import ItemMissingError, LibraryDamagedError, LibraryError, Remedy
from hashgrain.store import catalogue, change_log
from hashgrain.store.blocks import Block, read_blocks
from hashgrain.store.catalogue import Connection, LibraryFacts
from hashgrain.store.change_log import Change
from hashgrain.store.errors import FROM_BACKUP, MendableError, index_damaged, translate_errors
from hashgrain.store.items import COLUMNS, Item, item_of
from hashgrain.store.parts import Grid, Parts, parts_from_row
from hashgrain.store.segments import FOLDER, Segment, complete_blocks
from hashgrain.store.spaces import PARTS, WHOLE
from hashgrain.store.view_cache import ReadTransaction
from hashgrain.store.views import View

if TYPE_CHECKING:
    from hashgrain.store.fields import Value
    from hashgrain.store.filter_parser import Filter

BY_PATH = f"SELECT {COLUMNS}, seal FROM items WHERE path"
AT_ONCE = 500  # ids in one statement; SQLite takes at least 999


class Snapshot:
    """One consistent view of a library, for use from several threads.

    Its arrays stay valid after it ends; its methods then raise.
    """

    def __init__(
        self,
        library: Path,
        facts: LibraryFacts,
        transaction: ReadTransaction,
        view_parts: Callable[[ReadTransaction], View],
        check_pages: Callable[[], None] = lambda: None,
    ) -> None:
        self._connection: Connection | None = transaction.connection
        self.path = self._library = library
        self._n_words = facts.grains.n_words
        self._transaction = transaction
        self._counters = transaction.counters
        self._live = transaction.counters.whole.rows - transaction.counters.whole.dead
        self._lock = threading.Lock()
        self._view_parts = view_parts
        self._parts = transaction.views.get(PARTS)
        self._check_pages = check_pages  # before queries whose answers have no checksums of their own
        self.segments: Sequence[Segment] = transaction.views[WHOLE].segments
        self.generation = transaction.counters.generation
        self.sequence = transaction.counters.sequence  # the number of the last entry of the log of changes
        self.grid: Grid | None = facts.grid  # boxes or spans of the parts of items without positions of their own

    def end(self) -> None:
        with self._lock:
            self._connection = None

    def __len__(self) -> int:
        return self._live

    def check_segments(self) -> None:
        """Raise if a segment was cut short while it was searched. Call it before an answer is returned."""
        mapped = [*self.segments, *(() if self._parts is None else self._parts.segments)]
        if any(segment.cut() for segment in mapped):
            raise MendableError(self._library, self._library / FOLDER, "a file was cut short while it was read")

    @property
    def part_segments(self) -> Sequence[Segment]:
        """The codes of the parts 1, 2, ... of all items. The id of a row is the id of its item times 2**16 plus the
        number of the part. They are mapped on first use, since few queries need them."""
        if self._parts is None:
            with self._connected():
                self._parts = self._view_parts(self._transaction)
        return self._parts.segments

    @property
    def has_parts(self) -> bool:
        """Whether any item has parts, or had some since the last rebuild."""
        return self._counters.parts.rows > 0

    @cached_property
    def any_item_has_parts(self) -> bool:
        """The same without those that only had some."""
        return self.has_parts and bool(self._query("SELECT EXISTS (SELECT 1 FROM parts)", ())[0][0])

    @cached_property
    def last_id(self) -> int:
        """The largest id, 0 if there is no item. Ids are given once, so items that come later have larger ones."""
        return int(self._query("SELECT coalesce(max(id), 0) FROM items", ())[0][0])

    def complete_blocks(self, *, parts: bool = False) -> list[Block]:
        """The blocks that cannot grow any more, in the order of their rows.

        They and `generation` show whether an index still belongs to these rows: the rows of a complete block do not
        change until a rebuild, which begins a new generation. Rows may only die.
        """
        with self._connected() as connection:
            return complete_blocks(read_blocks(connection, self._library, PARTS if parts else WHOLE, self._n_words))

    def history(self) -> str:
        """The name of the history that `sequence` and the numbers of changes belong to."""
        with self._connected() as connection:
            return change_log.history(connection)

    def changes(self, since: int) -> Iterator[Change]:
        """The changes of codes after the change of that number, in order; all changes after 0."""
        return change_log.changes_since(self._query, self._library, self._n_words, since, parts=self.has_parts)

    def items(self, ids: Iterable[int]) -> list[Item]:
        """The items of these ids, in this order. A missing id is an error."""
        return [item_of(row, self._library) for row in self._rows_in_order(f"{COLUMNS}, seal FROM items", "id", ids)]

    def item(self, id: int) -> Item | None:
        rows = self._rows_of(f"{COLUMNS}, seal FROM items", "id", [int(id)])
        return item_of(rows[0], self._library) if rows else None

    def codes(self, ids: Iterable[int]) -> Words:
        """(n, n_words): the codes of these ids, in this order. A missing id is an error."""
        rows = self._rows_in_order("item, code, seal FROM rows", "item", ids)
        code_bytes = b"".join(self._sound_code(*row) for row in rows)
        return np.frombuffer(code_bytes, "<u8").astype(np.uint64).reshape(-1, self._n_words)

    def code(self, id: int) -> Words | None:
        """The code of an item: one row of words."""
        rows = self._rows_of("item, code, seal FROM rows", "item", [int(id)])
        return np.frombuffer(self._sound_code(*rows[0]), "<u8").astype(np.uint64) if rows else None

    def parts_of(self, ids: Iterable[int]) -> list[Parts | None]:
        """The parts of these items, in this order; None for an item that has none."""
        item_ids = [int(each) for each in ids]
        if not self.has_parts:
            return [None] * len(item_ids)
        rows = self._rows_of("item, rows, code, positions, seal FROM parts", "item", sorted(set(item_ids)))
        parts_by_item = {row[0]: parts_from_row(self._library, self._n_words, *row) for row in rows}
        return [parts_by_item.get(each) for each in item_ids]

    def with_parts(self) -> NDArray[np.int64]:
        """The sorted ids of the items that have parts."""
        rows = self._query("SELECT item FROM parts ORDER BY item", ()) if self.has_parts else []
        return np.fromiter((row[0] for row in rows), np.int64, len(rows))

    def paths(self) -> Iterator[Item]:
        """Every item, by path."""
        self._check_pages()
        after, count = b"", 0
        while True:
            query = f"SELECT {COLUMNS}, seal FROM items WHERE path > ? ORDER BY path LIMIT {AT_ONCE}"
            rows = self._query(query, (after,))
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
        """The id of the item at this path, or nothing, by the index on paths."""
        self._check_pages()
        return self._ids(self._query(f"{BY_PATH} = ?", (path,)), path, path + b"\0")

    def below(self, folder: bytes) -> Iterator[int]:
        """The ids of all items below a folder, whose path ends with a separator."""
        self._check_pages()
        end = folder[:-1] + bytes([folder[-1] + 1])  # the least path after all of them
        query = f"{BY_PATH} {{}} ? AND path < ? ORDER BY path LIMIT {AT_ONCE}"
        rows = self._query(query.format(">="), (folder, end))
        while rows:
            yield from self._ids(rows, folder, end)
            rows = self._query(query.format(">"), (rows[-1][1], end)) if len(rows) == AT_ONCE else []

    def _ids(self, rows: list[tuple[Any, ...]], least: bytes, end: bytes) -> list[int]:
        """The ids of rows that the index on paths gave for `least <= path < end`; raise if one is outside."""
        if not all(least <= row[1] < end for row in rows):
            raise index_damaged(self._library)
        return [item_of(row, self._library).id for row in rows]

    def select(self, where: str | Mapping[str, Any] | Filter) -> NDArray[np.int64]:
        """The sorted ids of the items for which the filter holds. `filter_parser` describes its language."""
        from hashgrain.store.filter_parser import compile_filter  # loaded by the first filter

        self._check_pages()
        condition, values = compile_filter(where, self._query)
        rows = self._query(f"SELECT id FROM items WHERE {condition} ORDER BY id", values)
        return np.fromiter((row[0] for row in rows), np.int64, len(rows))

    def check_names(self, where: Filter) -> None:
        """FilterError if the filter has a name that no item has, or that means two things. `select` checks it too."""
        from hashgrain.store.field_names import check_field_names

        self._check_pages()
        check_field_names(where.condition, self._query)

    def filter_names(self) -> list[str]:
        """The names that a filter can have: the fields of every item, then the keys of metadata, nested ones by their
        first part."""
        from hashgrain.store.field_names import filter_names

        self._check_pages()
        return filter_names(self._query)

    def values(self, names: Sequence[str], most: int) -> list[tuple[Value, int]]:
        """The `most` frequent values of a field, or of a key of metadata, each with how many items have it."""
        from hashgrain.store.field_values import values_of

        self._check_pages()
        return values_of(names, most, self._query)

    def _sound_code(self, item: int, code: bytes, checksum: int) -> bytes:
        return catalogue.sound_code(self._library, self._n_words, item, code, checksum)

    def _rows_in_order(self, columns: str, key: str, ids: Iterable[int]) -> list[tuple[Any, ...]]:
        """The rows of these ids, in this order; raise if one is missing."""
        item_ids = [int(each) for each in ids]
        rows = {row[0]: row for row in self._rows_of(columns, key, item_ids)}
        for each in item_ids:
            if each not in rows:
                remedy = Remedy("its hits and items have their ids", "show_ids")
                raise ItemMissingError(f"{self._library} has no item {each}", path=self._library, remedy=remedy)
        return [rows[each] for each in item_ids]

    def _rows_of(self, columns: str, key: str, ids: Sequence[int]) -> list[tuple[Any, ...]]:
        """The rows of the ids that exist. The key is their first column."""
        valid_ids = [each for each in ids if 0 < each < 2**63]
        rows: list[tuple[Any, ...]] = []
        for start in range(0, len(valid_ids), AT_ONCE):
            batch = valid_ids[start : start + AT_ONCE]
            rows += self._query(f"SELECT {columns} WHERE {key} IN ({','.join('?' * len(batch))})", batch)
        return rows

    def _query(self, query: str, values: Sequence[Any] | Mapping[str, Any]) -> list[tuple[Any, ...]]:
        with self._connected() as connection:
            return connection.all(query, values)

    @contextmanager
    def _connected(self) -> Iterator[Connection]:
        """The connection, for one query at a time."""
        with self._lock, translate_errors(self._library):
            if self._connection is None:
                raise LibraryError(f"{self._library}: this snapshot has ended; take another", path=self._library)
            yield self._connection
