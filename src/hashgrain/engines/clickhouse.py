"""The codes of a library in ClickHouse, as columns of bytes: `bitHammingDistance(column, query)`.

There are no transactions. So rows carry the number of the change that they are of and who wrote them, and count from
the moment at which the table `states` has a row for both. The rows that they replace are named in the table `replaced`
before, and count until then. Of two rows for the same state only the first is taken: an insert with a token that was
used before does nothing. Whatever a killed program leaves behind never counts.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import parse_qsl

from hashgrain.engines.part_rows import Ids
from hashgrain.engines.sql import CodeRow, Rows, State, columns_of
from hashgrain.errors import EngineError

DATABASE = "hashgrain"
FORMAT = 1
TOKENS = 10_000  # of states, that are remembered
MOST_REPLACED = 2_000  # items with rows that do not count, before these are deleted
SETTINGS = {
    "output_format_json_quote_64bit_integers": "0",
    "max_query_size": "1000000000",  # a filter may name a million items
    "max_ast_elements": "100000000",
    "lightweight_deletes_sync": "2",
    "insert_deduplicate": "1",
}


class MissingTableError(EngineError):
    """There is no such table."""


class Place(Protocol):
    """Where an engine of ClickHouse is: in this process, or a server."""

    where: str  # which one, for people: without passwords
    database: str  # the name of that of the library

    def is_new(self) -> bool:
        """Whether nothing can be there yet, without making anything."""
        ...

    def run(self, query: str) -> Rows:
        """The rows of a query. Raises MissingTableError, or EngineError."""
        ...

    def close(self) -> None: ...


@dataclass(frozen=True)
class _View:
    """What the tables say at one moment."""

    made: int  # the tables, so that nothing that was written for others counts
    library: str
    grains: str
    reached: dict[int, int]  # by writer, the last change that it has brought
    replaced: dict[int, int]  # by item, the change before which its rows do not count, while they are still there

    @property
    def state(self) -> State:
        return State(self.library, max(self.reached.values()), self.grains)


class ClickHouse:
    """The tables of a library in an engine of ClickHouse."""

    def __init__(self, place: Place) -> None:
        self._place, self._database, self.where = place, place.database, place.where
        self._states = f"{self._database}.states"
        self._view: _View | None = None
        self._writer = _new_writer()
        self._cleaned = False

    @property
    def codes(self) -> str:
        """The rows that count."""
        view = self._known()
        condition = f"since <= {_looked_up('writer', view.reached)}"
        if view.replaced:
            condition += f" AND since >= {_looked_up('item', view.replaced)}"
        return f"(SELECT * FROM {self._database}.codes WHERE {condition})"

    def state(self) -> State | None:
        self._view = None if self._place.is_new() else self._read_view()
        return None if self._view is None else self._view.state

    def make_tables(self, widths: Sequence[int], grains: str) -> None:
        numbers = "since UInt64, writer UInt64"
        columns = ", ".join(f"g{n} FixedString({_size(width)})" for n, width in enumerate(widths))
        once = f"non_replicated_deduplication_window = {TOKENS}"
        self._place.run(f"CREATE DATABASE IF NOT EXISTS {self._database} ENGINE = Atomic")
        self._make("codes", f"item Int64, part Int32, {numbers}, {columns}", "item, part")
        self._make("replaced", f"item Int64, {numbers}", "item")
        states = "made UInt64, format UInt32, library String, grains String"
        self._make("states", f"{states}, known UInt64, {numbers}", "since", once)
        self._add_state("made", (_new_writer(), FORMAT, "", grains, 0, 0, 0))

    def drop_tables(self) -> None:
        """The database goes, too, if nothing else is in it. Its state goes last, so that this can be done again."""
        for name in ("replaced", "codes", "states"):
            self._place.run(f"DROP TABLE IF EXISTS {self._database}.{name} SYNC")
        if not self._place.run(f"SELECT 1 FROM system.tables WHERE database = '{self._database}' LIMIT 1"):
            self._place.run(f"DROP DATABASE IF EXISTS {self._database} SYNC")

    def replace(self, known: State, new: State, items: Sequence[int], rows: Sequence[CodeRow]) -> State:
        view = self._need_view()
        if view.state.sequence != known.sequence or (view.library != known.library and known.sequence):
            return view.state
        if not self._cleaned:
            self._clean(view)
        since, writer = new.sequence, self._writer
        self._writer = _new_writer()  # unless all goes well, so that what is left of it never counts
        replaced = self._place.run(f"SELECT DISTINCT item FROM {self.codes} WHERE item IN {_listed(items)}")
        self._insert("replaced", [f"({item}, {since}, {writer})" for (item,) in replaced])
        columns = columns_of(new.grains)
        self._insert("codes", [_values(row, since, writer, columns) for row in rows])
        values = (view.made, FORMAT, new.library, new.grains, known.sequence, since, writer)
        self._add_state(f"{view.made} {known.sequence}", values)
        view = self._need_view()
        if view.reached.get(writer) == since:
            self._writer = writer
            if len(view.replaced) > MOST_REPLACED:
                self._purge(view)
        return view.state

    def differing(self, column: int, bits: str) -> str:
        return f"bitHammingDistance(g{column}, {_bytes(bits)})"

    def among(self, ids: Ids) -> tuple[str, list[Any]]:
        return f"item IN {_listed(ids.tolist())}", []

    def best_parts(self, compared: str) -> str:
        best = "min((near, whole, part)) AS best"
        best = f"SELECT item, {best} FROM ({compared}) a GROUP BY item"
        return f"SELECT item, best.3 AS part, best.1 AS near, best.2 AS whole FROM ({best}) b"

    def code(self) -> str:
        bits = []
        for n, (low, high) in enumerate(columns_of(self._known().grains)):
            unused = 8 * _size(high - low) - (high - low)  # at the front of the first byte
            bits.append(f"substring(bin(g{n}), {unused + 1})")
        return f"concat('', {', '.join(bits)})"

    def now(self) -> str:
        """Of the moment at which the state was read; `ask` sees to it that it still is the same after the query."""
        state = self._known().state
        return _quoted(f"{state.library} {state.sequence}")

    def ask(self, query: str, values: Sequence[Any]) -> Rows:
        state = self._known().state
        found = self._place.run(query)
        if self._need_view().state != state:
            reason = f"another program brought {self.where} to another state while it was asked"
            raise EngineError(reason, remedy="search again")
        return found

    def close(self) -> None:
        self._place.close()

    def _known(self) -> _View:
        if self._view is None:
            raise EngineError(f"the tables of {self.where} are gone; open the library again")
        return self._view

    def _need_view(self) -> _View:
        self._view = self._read_view()
        return self._known()

    def _read_view(self) -> _View | None:
        columns = "made, writer, max(since), argMax(library, since), argMax(grains, since), min(format), max(format)"
        try:
            states = self._place.run(f"SELECT {columns} FROM {self._states} GROUP BY made, writer ORDER BY writer")
        except MissingTableError:
            states = []
        if not states:
            return None
        made, first, *_, oldest, newest = states[0]
        if first != 0 or not oldest == newest == FORMAT:
            raise EngineError(f"{self.where} has tables of format {newest}; this HashGrain knows format {FORMAT}")
        ours = [each for each in states if each[0] == made]
        reached = {writer: since for _, writer, since, *_ in ours}
        last = max(ours, key=lambda each: each[2])
        counts = f"since <= {_looked_up('writer', reached)}"
        replaced = self._place.run(
            f"SELECT item, max(since) FROM {self._database}.replaced WHERE {counts} GROUP BY item"
        )
        return _View(made, last[3], last[4], reached, dict(replaced))

    def _purge(self, view: _View) -> None:
        """Delete the rows that were replaced, then the record of which these are."""
        if not view.replaced:
            return
        older = f"since < {_looked_up('item', view.replaced)}"
        items = _listed(list(view.replaced))
        self._place.run(f"DELETE FROM {self._database}.codes WHERE item IN {items} AND {older}")
        self._place.run(f"DELETE FROM {self._database}.replaced WHERE since <= {view.state.sequence}")
        self._view = _View(view.made, view.library, view.grains, view.reached, {})

    def _clean(self, view: _View) -> None:
        """Delete what killed programs left behind."""
        never = f"since > {_looked_up('writer', view.reached)} AND since <= {view.state.sequence}"
        if self._place.run(f"SELECT 1 FROM {self._database}.codes WHERE {never} LIMIT 1"):
            self._place.run(f"DELETE FROM {self._database}.codes WHERE {never}")
        self._purge(view)
        self._cleaned = True

    def _make(self, name: str, columns: str, order: str, settings: str = "") -> None:
        made = f"CREATE TABLE IF NOT EXISTS {self._database}.{name} ({columns}) ENGINE = MergeTree ORDER BY ({order})"
        self._place.run(f"{made} SETTINGS {settings}" if settings else made)

    def _insert(self, table: str, values: Sequence[str]) -> None:
        if values:
            self._place.run(f"INSERT INTO {self._database}.{table} VALUES {', '.join(values)}")

    def _add_state(self, token: str, values: tuple[Any, ...]) -> None:
        """Nothing is added if a state was added with this token before."""
        written = ", ".join(_quoted(value) if isinstance(value, str) else str(value) for value in values)
        self._place.run(
            f"INSERT INTO {self._states} SETTINGS insert_deduplication_token = '{token}' VALUES ({written})"
        )


def _looked_up(column: str, values: dict[int, int]) -> str:
    """An expression: the value for the number in a column, or 0."""
    numbers = ", ".join(f"{key}" for key in values)
    kind = "Int64" if column == "item" else "UInt64"
    results = ", ".join(map(str, values.values()))
    return f"transform({column}, CAST([{numbers}] AS Array({kind})), CAST([{results}] AS Array(UInt64)), toUInt64(0))"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def _listed(items: Sequence[int]) -> str:
    """To be looked for by IN, which takes no empty list; no item is -1."""
    return f"[{', '.join(map(str, items or [-1]))}]"


def _values(row: CodeRow, since: int, writer: int, columns: Sequence[tuple[int, int]]) -> str:
    codes = ", ".join(f"unhex('{_hex(row.bits[low:high])}')" for low, high in columns)
    return f"({row.item}, {row.part}, {since}, {writer}, {codes})"


def _size(width: int) -> int:
    return -(-width // 8)


def _hex(bits: str) -> str:
    return f"{int(bits, 2):0{2 * _size(len(bits))}x}"


def _bytes(bits: str) -> str:
    return f"toFixedString(unhex('{_hex(bits)}'), {_size(len(bits))})"


def _new_writer() -> int:
    return 1 + secrets.randbelow(2**63 - 1)


def error_of(where: str, said: str) -> EngineError:
    """What an engine said, as an error."""
    kind = MissingTableError if re.search(r"\(UNKNOWN_(DATABASE|TABLE)\)", said) else EngineError
    return kind(f"{where}: {reason_in(said)}")


def reason_in(said: str) -> str:
    first = (said.strip().splitlines() or ["no reason was given"])[0]
    return re.sub(r"Code: \d+\. DB::Exception: |, Stack trace .*", "", first)


def rows_in(answer: str) -> Rows:
    """The rows of an answer in the format JSONCompact."""
    return [tuple(row) for row in json.loads(answer)["data"]] if answer.strip() else []


def database_of(query: str, what: str) -> str:
    """The database that the parameters of an address name."""
    parameters = dict(parse_qsl(query))
    database = parameters.pop("database", DATABASE)
    if parameters:
        raise EngineError(f"{what}: there is the parameter database, not {', '.join(sorted(parameters))}")
    if not re.fullmatch(r"[a-z_][a-z0-9_]{0,62}", database):
        raise EngineError(f"{what}: a database is named by small letters, digits and _, not {database!r}")
    return database
