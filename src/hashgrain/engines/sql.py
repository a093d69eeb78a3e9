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
from hashgrain.engines.embedded import EmbeddedEngine
from hashgrain.engines.part_rows import Ids, PartsMode, check_parts_mode, item_ids, part_numbers
from hashgrain.errors import CodesError, EngineError, QueryError
from hashgrain.hamming import Cost, Neighbours, Reranked, rows_of
from hashgrain.hamming.question import check_cap
from hashgrain.store import Change
from hashgrain.store.spaces import MAX_PARTS, PART_BITS

BATCH = 5_000  # changes that are made in one transaction
AT_ONCE = 20_000  # items whose codes are fetched together
SEQUENCE = "(SELECT sequence FROM state)"
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


class Dialect(Protocol):
    """One kind of database, connected."""

    where: str  # which one, for people: without passwords

    def state(self) -> State | None:
        """None if it has no tables yet."""
        ...

    def make_tables(self, widths: Sequence[int], grains: str) -> None:
        """Make tables for codes with columns of so many bits."""
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

    def ask(self, query: str, values: Sequence[Any]) -> Rows: ...

    def code(self) -> str:
        """An expression: the bits of a code, as zeros and ones."""
        ...

    def close(self) -> None: ...


class SqlEngine:
    """An engine in a database, which stays there when the process ends."""

    def __init__(self, dialect: Dialect, grains: Grains) -> None:
        self.dialect, self.grains = dialect, grains
        edges = [0, *grains.values()]
        self._columns = list(itertools.pairwise(edges))  # from which bit to which
        state = dialect.state()
        if state is None:
            dialect.make_tables([end - begin for begin, end in self._columns], _named(grains))
            state = dialect.state() or State("", 0, _named(grains))
        if state.grains != _named(grains):
            raise EngineError(f"{dialect.where} has codes with {state.grains}, and the library codes with {grains}")
        self.library, self._sequence = state.library, state.sequence

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
    ) -> list[Neighbours]:
        self._check(codes, parts)
        if isinstance(k, bool) or not isinstance(k, (int, np.integer)) or k < 1:
            raise QueryError(f"k is {k!r}; it is a whole number from 1 on")
        widths = self.grains.up_to(grain)
        if weights is not None and set(weights) != set(widths):
            raise QueryError(f"weights for {', '.join(weights) or 'nothing'}; they are for {', '.join(widths)}")
        counts = [1.0 if weights is None else float(weights[name]) for name in widths]
        return [self._answer(bits, counts, weights is not None, parts, where, None, int(k)) for bits in _texts(codes)]

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
        self._check(codes, parts)
        check_cap(cap)
        width = self.grains.width(grain)
        if isinstance(radius, bool) or not isinstance(radius, (int, np.integer)) or not 0 <= radius <= width:
            raise QueryError(f"a distance of {radius!r} bits makes no sense at {grain}; it is from 0 to {width}")
        counts = [1.0] * len(self.grains.up_to(grain))
        return [self._answer(bits, counts, False, parts, where, int(radius), cap) for bits in _texts(codes)]

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
        return best, Cost("database", rows, 8 * rows * self.grains.n_words)

    def close(self) -> None:
        self.dialect.close()

    def _apply(self, batch: Sequence[Change]) -> None:
        changes = [change for change in batch if change.number > self._sequence]
        if not changes:
            return
        last = {change.item: change for change in changes}
        rows = [row for change in last.values() for row in self._rows(change)]
        known = State(self.library, self._sequence, _named(self.grains))
        state = self.dialect.replace(known, State(self.library, changes[-1].number, known.grains), list(last), rows)
        if state.library != self.library:
            raise EngineError(f"{self.dialect.where} got the codes of another library meanwhile")
        self._sequence = state.sequence
        self._apply(changes)  # what is left of them, if another process applied some

    def _rows(self, change: Change) -> Iterator[CodeRow]:
        width = self.grains.n_words
        code, parts = change.code, change.parts
        if code is not None:
            if code.shape != (width,):
                raise CodesError(f"a code of shape {code.shape} does not fit codes with {self.grains}")
            yield CodeRow(change.item, 0, *_texts(Codes(np.asarray(code, np.uint64)[None], self.grains)))
        if parts is not None:
            if parts.ndim != 2 or parts.shape[1] != width or len(parts) > MAX_PARTS:
                raise CodesError(f"codes of parts of shape {parts.shape} do not fit codes with {self.grains}")
            for part, bits in enumerate(_texts(Codes(np.asarray(parts, np.uint64), self.grains)), start=1):
                yield CodeRow(change.item, part, bits)

    def _answer(
        self,
        bits: str,
        counts: Sequence[float],
        weighted: bool,
        parts: PartsMode,
        where: Ids | None,
        radius: int | None,
        most: int | None,
    ) -> Neighbours:
        differing = [self.dialect.differing(n, bits[low:high]) for n, (low, high) in enumerate(self._columns)]
        near = differing[: len(counts)]
        if weighted:
            near = [f"CAST({count!r} AS DOUBLE PRECISION) * {each}" for count, each in zip(counts, near, strict=True)]
        condition, values = ("1 = 1", []) if where is None else self.dialect.among(where)
        compared = f"SELECT item, part, {' + '.join(near)} AS near, {' + '.join(differing)} AS whole FROM codes"
        compared += f" WHERE {condition}" + (" AND part = 0" if parts == "whole" else "")
        if parts == "all":
            ranked = "row_number() OVER (PARTITION BY item ORDER BY near, whole, part) AS place"
            compared = f"SELECT item, part, near, whole FROM (SELECT *, {ranked} FROM ({compared}) a) b WHERE place = 1"
        limit = "" if most is None else f" LIMIT {most}"
        counted = "0" if radius is None else "count(*) OVER ()"
        query = f"SELECT item, part, near, whole, {counted}, {SEQUENCE} FROM ({compared}) c"
        query += ("" if radius is None else f" WHERE near <= {radius}") + f" ORDER BY near, whole, item{limit}"
        found = self._asked(query, values)
        return self._neighbours(found, weighted, parts, counted=radius is not None)

    def _asked(self, query: str, values: Sequence[Any]) -> Rows:
        """The rows of a query whose last column is the sequence, if the codes are those that it is meant for."""
        found = self.dialect.ask(query, values)
        if found and found[0][-1] != self._sequence:
            reason = f"another program brought {self.dialect.where} to a later state of the library while it was asked"
            raise EngineError(reason, remedy="ask again")
        return found

    def _neighbours(self, found: Rows, weighted: bool, parts: PartsMode, *, counted: bool) -> Neighbours:
        columns = list(zip(*found, strict=True)) or [()] * 6
        ids, numbers = (np.array(column, np.int64) for column in columns[:2])
        near = np.array(columns[2], np.float64) if weighted else np.array(columns[2], np.int32)
        total = int(columns[4][0]) if counted and found else len(found)
        cost = Cost("database", len(found), 0)
        return Neighbours(ids, near, np.array(columns[3], np.int32), total, cost, numbers if parts == "all" else None)

    def _fetched(self, where: Ids | None) -> Iterator[tuple[EmbeddedEngine, int]]:
        """All codes, some items at a time, each time as an engine in this process."""
        condition, values = ("1 = 1", []) if where is None else self.dialect.among(where)
        after = -1
        while True:
            some = f"SELECT item FROM codes WHERE {condition} AND part = 0 AND item > {after}"
            some += f" ORDER BY item LIMIT {AT_ONCE}"
            ((last,),) = self.dialect.ask(f"SELECT max(item) FROM ({some}) a", values)
            if last is None:
                return
            fetch = f"SELECT item, part, {self.dialect.code()}, {SEQUENCE} FROM codes"
            fetch += f" WHERE {condition} AND item > {after} AND item <= {last} ORDER BY item, part"
            yield self._engine_of(self._asked(fetch, values))
            after = int(last)

    def _engine_of(self, found: Rows) -> tuple[EmbeddedEngine, int]:
        ids = np.array([item << PART_BITS | part for item, part, *_ in found], np.int64)
        words = _words([bits for _, _, bits, _ in found], self.grains)
        whole = part_numbers(ids) == 0
        segments = [rows_of(words[whole], item_ids(ids[whole]))]
        parts = [] if whole.all() else [rows_of(words[~whole], ids[~whole])]
        return EmbeddedEngine(segments, self.grains, part_segments=parts), len(found)

    def _check(self, codes: Codes, parts: PartsMode) -> None:
        check_parts_mode(parts)
        if codes.grains != self.grains:
            raise CodesError(f"a query with {codes.grains} cannot be asked of codes with {self.grains}")


def _named(grains: Grains) -> str:
    return " ".join(f"{name}:{width}" for name, width in grains.items())


def _texts(codes: Codes) -> list[str]:
    """Each code as zeros and ones."""
    return [(row + ord("0")).tobytes().decode() for row in codes.bits()]


def _words(texts: Sequence[str], grains: Grains) -> Words:
    bits = np.frombuffer("".join(texts).encode(), np.uint8).reshape(len(texts), grains.bits) - ord("0")
    padded = np.zeros((len(texts), 64 * grains.n_words), np.uint8)
    padded[:, : grains.bits] = bits
    return np.packbits(padded, axis=1, bitorder="little").view("<u8").astype(np.uint64)


def _merged(one: Reranked, other: Reranked, k: int) -> Reranked:
    """The first k of both, which are of different items."""
    ids, scores = np.concatenate([one.ids, other.ids]), np.concatenate([one.scores, other.scores])
    order = np.lexsort((ids, -scores))[:k]
    parts = None if one.parts is None or other.parts is None else np.concatenate([one.parts, other.parts])[order]
    return Reranked(ids[order], scores[order], parts)
