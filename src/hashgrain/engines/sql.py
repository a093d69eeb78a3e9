"""Engines in a database: the rows of codes are in its tables, and its queries have the order of every other engine.

What is common to databases is here; a dialect says how one of them keeps the bits of codes and counts the differing
ones. The bits that each grain adds to the one before have columns of their own, so the distance at a grain is a sum
over some of them and the whole distance a sum over all.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from hashgrain.codes import Codes, Grains, Words
from hashgrain.engines.checks import bit_weights, check_change, check_codes, check_part_radii, check_radius
from hashgrain.engines.embedded import EmbeddedEngine
from hashgrain.engines.part_rows import Ids, PartsMode, check_parts_mode, item_ids, part_numbers
from hashgrain.errors import EngineError
from hashgrain.hamming import Cost, Neighbours, Reranked, rows_of
from hashgrain.hamming.question import check_cap, check_k, weight_units
from hashgrain.store import Change
from hashgrain.store.spaces import PART_BITS

BATCH = 5_000  # changes that are made in one transaction
AT_ONCE = 20_000  # items whose codes are fetched together
Rows = list[tuple[Any, ...]]


@dataclass(frozen=True)
class State:
    """What a database says of the codes that it has."""

    library: str  # the history of changes that the sequence belongs to
    sequence: int
    grains: str


@dataclass(frozen=True)
class CodeRow:
    """A code to store: of an item if `part` is 0, or of a part of it."""

    item: int
    part: int
    bits: str  # of the whole code, as zeros and ones


def columns_of(grains: str) -> list[tuple[int, int]]:
    """From which bit to which each column is: those that a grain of `State.grains` adds to the one before."""
    return list(itertools.pairwise([0, *(int(each.rpartition(":")[2]) for each in grains.split())]))


class Dialect(Protocol):
    """One kind of database, connected."""

    where: str  # which one, for people: without passwords

    @property
    def codes(self) -> str:
        """What to select from: the rows of codes, with the columns item, part and those of bits."""
        ...

    def now(self) -> str:
        """An expression: the library and the sequence that the answer to a query is of, with a space between."""
        ...

    def state(self) -> State | None:
        """None if it has no tables yet."""
        ...

    def make_tables(self, widths: Sequence[int], grains: str) -> None:
        """Make tables for codes with columns of so many bits, if no other program has made them meanwhile."""
        ...

    def drop_tables(self) -> None:
        """Remove the tables with all that they hold."""
        ...

    def replace(self, known: State, new: State, items: Sequence[int], rows: Sequence[CodeRow]) -> State:
        """Remove all rows of these items and add the new ones, in one step with the new state. Where the state is not
        `known` any more, nothing is done. Returns the state."""
        ...

    def differing(self, column: int, bits: str) -> str:
        """An expression: how many bits of a column differ from these."""
        ...

    def among(self, ids: Ids) -> tuple[str, list[Any]]:
        """A condition: that the item is one of these; with its values."""
        ...

    def best_parts(self, compared: str) -> str:
        """A query: of each item in a query for item, part, near and whole the row that comes first."""
        ...

    def ask(self, query: str, values: Sequence[Any]) -> Rows: ...

    def code(self) -> str:
        """An expression: the bits of a code, as zeros and ones."""
        ...

    def close(self) -> None: ...


@dataclass(frozen=True)
class _Asked:
    """What one query of `nearest` or `within` asks for."""

    units: Sequence[int]  # what a bit counts, by grain, up to the one that is asked at
    parts: PartsMode
    where: Ids | None
    radius: int | None
    most: int | None
    part_radius: int | None = None


class SqlEngine:
    """An engine in a database, which stays there when the process ends."""

    def __init__(self, dialect: Dialect, grains: Grains) -> None:
        self.dialect, self.grains = dialect, grains
        self._named = " ".join(f"{name}:{width}" for name, width in grains.items())
        self._columns = columns_of(self._named)
        state = dialect.state()
        if state is None:
            dialect.make_tables([end - begin for begin, end in self._columns], self._named)
            state = dialect.state() or State("", 0, self._named)
        if state.grains != self._named:
            raise EngineError(f"{dialect.where} has codes with {state.grains}, and the library codes with {grains}")
        self.library, self._sequence = state.library, state.sequence
        self._counted: dict[PartsMode, tuple[int, int]] = {}  # the sequence, and how many rows there were then

    @property
    def sequence(self) -> int:
        """As the database has it now: another process may have applied more."""
        state = self.dialect.state()
        if state is None:
            raise EngineError(f"the tables of {self.dialect.where} are gone; open the library again")
        self.library, self._sequence = state.library or self.library, state.sequence
        return self._sequence

    def apply(self, changes: Iterable[Change]) -> None:
        """Apply changes in batches, each in one transaction with the number of its last change."""
        stream = iter(changes)
        while batch := list(itertools.islice(stream, BATCH)):
            self._apply(batch)

    def nearest(
        self,
        codes: Codes,
        k: int,
        *,
        grain: str,
        parts: PartsMode = "whole",
        where: Ids | None = None,
        weights: Mapping[str, float] | None = None,
        part_radii: Sequence[int] | None = None,
    ) -> list[Neighbours]:
        check_codes(codes, self.grains)
        check_parts_mode(parts)
        check_part_radii(part_radii, codes, weights)
        check_k(k)
        units, scale = [1] * len(self.grains.up_to(grain)), None
        if weights is not None:
            bits = self.grains.width(grain)
            units, scale = weight_units(bit_weights(weights, self.grains, grain), bits)
        radii: Sequence[int | None] = part_radii if part_radii is not None else [None] * len(codes)
        asked = [_Asked(units, parts, where, None, int(k), radius) for radius in radii]
        return [self._answer(*each, scale) for each in zip(_texts(codes), asked, strict=True)]

    def within(
        self,
        codes: Codes,
        radius: int,
        *,
        grain: str,
        parts: PartsMode = "whole",
        where: Ids | None = None,
        cap: int | None = None,
    ) -> list[Neighbours]:
        check_codes(codes, self.grains)
        check_parts_mode(parts)
        check_cap(cap)
        check_radius(radius, self.grains, grain)
        asked = _Asked([1] * len(self.grains.up_to(grain)), parts, where, int(radius), cap)
        return [self._answer(bits_of_code, asked, None) for bits_of_code in _texts(codes)]

    def agreeing(
        self,
        outputs: NDArray[np.float32],
        k: int,
        *,
        grain: str,
        parts: PartsMode = "whole",
        where: Ids | None = None,
    ) -> tuple[Reranked, Cost]:
        """The codes are fetched, some items at a time, and compared here: a database cannot weigh each bit."""
        best = EmbeddedEngine([], self.grains).agreeing(outputs, k, grain=grain, parts=parts)[0]
        rows = 0
        for engine, fetched in self._fetched(where):
            more, _ = engine.agreeing(outputs, k, grain=grain, parts=parts)
            best, rows = _merged(best, more, k), rows + fetched
        return best, self._cost(rows)

    def close(self) -> None:
        self.dialect.close()

    def _apply(self, batch: Sequence[Change]) -> None:
        changes = [change for change in batch if change.number > self._sequence]
        if not changes:
            return
        for change in changes:
            check_change(change, self.grains)
        last = {change.item: change for change in changes}
        rows = self._rows(last.values())
        known = State(self.library, self._sequence, self._named)
        state = self.dialect.replace(known, State(self.library, changes[-1].number, self._named), list(last), rows)
        if state.library != self.library or state.sequence <= self._sequence:
            reason = f"another program filled {self.dialect.where} anew while it was brought up to date"
            raise EngineError(reason, remedy="search again")
        self._sequence = state.sequence
        self._apply(changes)  # what is left of them, if another process applied some

    def _rows(self, changes: Iterable[Change]) -> list[CodeRow]:
        keys: list[tuple[int, int]] = []
        words = [np.empty((0, self.grains.n_words), np.uint64)]
        for change in changes:
            for first, codes in ((0, None if change.code is None else change.code[None]), (1, change.parts)):
                if codes is not None:
                    keys += [(change.item, part) for part in range(first, first + len(codes))]
                    words.append(np.asarray(codes, np.uint64))
        texts = _texts(Codes(np.concatenate(words), self.grains))
        return [CodeRow(*key, bits) for key, bits in zip(keys, texts, strict=True)]

    def _answer(self, bits: str, asked: _Asked, scale: float | None) -> Neighbours:
        differing = [self.dialect.differing(n, bits[low:high]) for n, (low, high) in enumerate(self._columns)]
        near = [each if unit == 1 else f"{unit} * {each}" for unit, each in zip(asked.units, differing, strict=False)]
        looked_at: PartsMode = "whole" if asked.part_radius is not None and asked.part_radius < 0 else asked.parts
        condition, values = self._condition(looked_at, asked.where)
        compared = f"SELECT item, part, {' + '.join(near)} AS near, {' + '.join(differing)} AS whole"
        compared += f" FROM {self.dialect.codes} WHERE {condition}"
        if asked.part_radius is not None:
            compared = f"SELECT * FROM ({compared}) d WHERE part = 0 OR near <= {asked.part_radius}"
        if asked.parts == "all":
            compared = self.dialect.best_parts(compared)
        total = "0" if asked.radius is None else "count(*) OVER ()"
        query = f"SELECT item, part, near, whole, {total}, {self.dialect.now()} FROM ({compared}) c"
        query += "" if asked.radius is None else f" WHERE near <= {asked.radius}"
        query += " ORDER BY near, whole, item" + ("" if asked.most is None else f" LIMIT {asked.most}")
        found = self._checked(query, values)
        rows = self._count(looked_at, asked.where)
        return _neighbours(found, asked, scale, self._cost(rows))

    def _fetched(self, where: Ids | None) -> Iterator[tuple[EmbeddedEngine, int]]:
        """All codes, some items at a time, each time as an engine in this process."""
        condition, values = self._condition("all", where)
        after = -1
        while True:
            some = f"SELECT item FROM {self.dialect.codes} WHERE {condition} AND part = 0 AND item > {after}"
            some += f" ORDER BY item LIMIT {AT_ONCE}"
            last_of = f"SELECT count(*), max(item), {self.dialect.now()} FROM ({some}) a"
            ((items, last, _),) = self._checked(last_of, values)
            if not items:
                return
            fetch = f"SELECT item, part, {self.dialect.code()}, {self.dialect.now()} FROM {self.dialect.codes}"
            fetch += f" WHERE {condition} AND item > {after} AND item <= {last} ORDER BY item, part"
            yield self._engine_of(self._checked(fetch, values))
            after = int(last)

    def _engine_of(self, found: Rows) -> tuple[EmbeddedEngine, int]:
        ids = np.array([item << PART_BITS | part for item, part, *_ in found], np.int64)
        words = _words([bits for _, _, bits, _ in found], self.grains)
        whole = part_numbers(ids) == 0
        segments = [rows_of(words[whole], item_ids(ids[whole]))]
        parts = [] if whole.all() else [rows_of(words[~whole], ids[~whole])]
        return EmbeddedEngine(segments, self.grains, part_segments=parts), len(found)

    def _condition(self, parts: PartsMode, where: Ids | None) -> tuple[str, list[Any]]:
        """Which rows are compared."""
        condition, values = ("1 = 1", []) if where is None else self.dialect.among(where)
        return condition + (" AND part = 0" if parts == "whole" else ""), values

    def _count(self, parts: PartsMode, where: Ids | None) -> int:
        """How many rows are compared; without a filter counted once for each state."""
        counted = self._counted.get(parts) if where is None else None
        if counted is None or counted[0] != self._sequence:
            condition, values = self._condition(parts, where)
            ((rows,),) = self.dialect.ask(f"SELECT count(*) FROM {self.dialect.codes} WHERE {condition}", values)
            counted = self._sequence, int(rows)
            if where is None:
                self._counted[parts] = counted
        return counted[1]

    def _cost(self, rows: int) -> Cost:
        return Cost("database", rows, 8 * rows * self.grains.n_words)

    def _checked(self, query: str, values: Sequence[Any]) -> Rows:
        """The rows of a query whose last column is the state, if that is the one that is meant."""
        found = self.dialect.ask(query, values)
        state = found[0][-1] if found else self.dialect.ask(f"SELECT {self.dialect.now()}", [])[0][0]
        library = self.library if self._sequence else ""  # before the first change the tables are of none
        if state != f"{library} {self._sequence}":
            reason = f"another program brought {self.dialect.where} to another state while it was asked"
            raise EngineError(reason, remedy="search again")
        return found


def _neighbours(found: Rows, asked: _Asked, scale: float | None, cost: Cost) -> Neighbours:
    """`scale` is the value of one unit of weighted distances."""
    columns = list(zip(*found, strict=True)) or [()] * 6
    ids, numbers, near = (np.array(column, np.int64) for column in columns[:3])
    distances = near.astype(np.int32) if scale is None else np.asarray(near * scale, np.float64)
    total = int(columns[4][0]) if asked.radius is not None and found else len(found)
    return Neighbours(
        ids, distances, np.array(columns[3], np.int32), total, cost, numbers if asked.parts == "all" else None
    )


def _texts(codes: Codes) -> list[str]:
    """Each code as zeros and ones."""
    text, bits = (codes.bits() + ord("0")).tobytes().decode(), codes.grains.bits
    return [text[start : start + bits] for start in range(0, len(text), bits)]


def _words(texts: Sequence[str], grains: Grains) -> Words:
    bits = np.frombuffer("".join(texts).encode(), np.uint8).reshape(len(texts), grains.bits) - ord("0")
    return Codes.from_bits(bits, grains).words


def _merged(one: Reranked, other: Reranked, k: int) -> Reranked:
    """The first k of both, which are of different items."""
    ids, scores = np.concatenate([one.ids, other.ids]), np.concatenate([one.scores, other.scores])
    order = np.lexsort((ids, -scores))[:k]
    parts = None if one.parts is None or other.parts is None else np.concatenate([one.parts, other.parts])[order]
    return Reranked(ids[order], scores[order], parts)
