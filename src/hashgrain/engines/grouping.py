"""Neighbours that are parts, grouped to items: each item by the part that is nearest.

Rows of parts come in the order of distance, whole distance, item, part, which is also the order of the answer. So of
every item among the first rows the best part is there, and all other items come after the last of those rows. The k
nearest items are therefore known once the k-th of those found comes no later than the last row; until then more rows
are asked for.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from hashgrain.codes import Words
from hashgrain.engines.part_rows import count_rows, items_of, parts_of
from hashgrain.hamming import Cost, Index, Neighbours, PartsCost, Reranked, Rows, Weights, agreeing, nearest, within
from hashgrain.hamming.rows import pieces

MORE = 4  # rows for each item at first; and times as many, where those are of too few items
MOST_ASKED = 1 << 20  # rows a query; where these are not enough, all rows are looked at, about so many at a time
MOST_KEPT = 1 << 22  # rows in memory for queries that are asked together
STEP = 8  # bounds are rounded up to it: which path is quickest is learned for each bound by itself

Places = NDArray[np.int64]  # of queries among those asked
Ask = Callable[[Places, Sequence[Rows], int], list[Neighbours]]  # so many nearest rows of these queries


@dataclass(frozen=True)
class PartRows:
    """The rows of parts that may answer. `per_item` says how many an item has, about."""

    segments: Sequence[Rows]
    per_item: float
    indexes: Sequence[Index] = ()
    threads: int | None = None

    def nearest(
        self, queries: Words, k: int, whole: Sequence[Neighbours], *, bits: int, weights: Weights | None
    ) -> list[Neighbours]:
        """For each query the k nearest items by their best part. `whole` holds the k nearest by their whole code."""
        answers = [whole_parts(each) for each in whole]

        def ask(some: Places, rows: Sequence[Rows], wanted: int) -> list[Neighbours]:
            bound = None if weights else _bound([answers[query] for query in some.tolist()], k, bits)
            indexes = self.indexes if rows is self.segments else ()
            return nearest(
                queries[some],
                rows,
                wanted,
                bits=bits,
                weights=weights,
                radius=bound,
                indexes=indexes,
                threads=self.threads,
            )

        self._group_all(answers, k, ask)
        return answers

    def agreeing(self, outputs: NDArray[np.float32], k: int, whole: Reranked, cost: Cost) -> tuple[Reranked, Cost]:
        """The k items that agree best with outputs, by their best part. `whole` holds those k by their whole code."""
        answers = [whole_parts(_as_neighbours(whole, cost))]

        def ask(some: Places, rows: Sequence[Rows], wanted: int) -> list[Neighbours]:
            return [_as_neighbours(*agreeing(outputs, rows, wanted, threads=self.threads))]

        self._group_all(answers, k, ask)
        (found,) = answers
        return Reranked(found.ids, -found.distances.astype(np.float64), found.parts), found.cost

    def _group_all(self, answers: list[Neighbours], k: int, ask: Ask) -> None:
        """Take rows into the answers until the k first items of each are known."""
        size, wanted = count_rows(self.segments), self._first(k)
        left = np.arange(len(answers) if size else 0)
        while len(left) and wanted <= MOST_ASKED:
            unsettled = []
            for some in _shares(left, wanted):
                for query, near in zip(some.tolist(), ask(some, self.segments, wanted), strict=True):
                    answers[query] = grouped([answers[query], near], k)
                    if len(near) == wanted < size and not _settled(answers[query], near, k):
                        answers[query] = _widened(answers[query])
                        unsettled.append(query)
            left, wanted = np.array(unsettled, np.int64), self._next(wanted, k)
        for query in left:
            for rows in self._runs():
                answers[query] = grouped([answers[query], *ask(left[left == query], rows, size)], k)

    def within(
        self, queries: Words, radius: int, whole: Sequence[Neighbours], *, bits: int, cap: int | None
    ) -> list[Neighbours]:
        """For each query all items with a part at most `radius` away, or the `cap` nearest; `total` counts them all.
        `whole` holds all items whose whole code is that near."""
        answers = [whole_parts(each) for each in whole]
        size, wanted = count_rows(self.segments), self._first(cap or 1)

        def ask(some: Places, most: int | None) -> list[Neighbours]:
            asked = queries[some]
            return within(asked, self.segments, radius, bits=bits, cap=most, indexes=self.indexes, threads=self.threads)

        for some in _shares(np.arange(len(answers) if size else 0), wanted):
            for query, near in zip(some, ask(some, wanted), strict=True):
                answers[query] = grouped([answers[query], near])
                if near.total <= len(near):
                    continue
                answers[query] = _widened(answers[query])
                if near.total <= MOST_ASKED:
                    answers[query] = grouped([answers[query], *ask(some[some == query], None)])
                    continue
                for rows in self._runs():
                    more = within(queries[query : query + 1], rows, radius, bits=bits, threads=self.threads)
                    answers[query] = grouped([answers[query], *more])
        return [_cut(answer, cap) for answer in answers]

    def _first(self, k: int) -> int:
        """How many rows to ask for at first: a few for each item, which mostly do, and cost an index less than many."""
        return self._at_most(k * min(MORE, max(1.0, self.per_item)))

    def _next(self, wanted: int, k: int) -> int:
        """And then: as many as k items have, or else more by a factor."""
        return self._at_most(max(MORE * wanted, k * self.per_item))

    def _at_most(self, rows: float) -> int:
        return max(1, min(count_rows(self.segments), math.ceil(rows)))

    def _runs(self) -> Iterator[list[Rows]]:
        return pieces(self.segments, -(-count_rows(self.segments) // MOST_ASKED))


def whole_parts(found: Neighbours) -> Neighbours:
    """Neighbours by whole codes: part 0 of each item."""
    cost = replace(found.cost, parts=PartsCost("scan", 0, 0, 0))
    return replace(found, cost=cost, parts=np.zeros(len(found), np.int64))


def grouped(answers: Sequence[Neighbours], k: int | None = None) -> Neighbours:
    """The k first items of an answer and of rows of parts: of each item the first that comes."""
    known, *others = answers
    assert known.parts is not None
    ids = np.concatenate([known.ids, *(items_of(rows.ids) for rows in others)])
    parts = np.concatenate([known.parts, *(parts_of(rows.ids) for rows in others)])
    distances = np.concatenate([each.distances for each in answers])
    full = np.concatenate([each.full for each in answers])
    order = np.lexsort((parts, ids, full, distances))
    order = order[np.sort(np.unique(ids[order], return_index=True)[1])][:k]
    return Neighbours(ids[order], distances[order], full[order], len(order), _cost(known, others), parts[order])


def _cost(known: Neighbours, others: Sequence[Neighbours]) -> Cost:
    before = known.cost.parts
    assert before is not None
    path = others[-1].cost.path if others else before.path
    rows, size = sum(each.cost.rows for each in others), sum(each.cost.bytes for each in others)
    return replace(known.cost, parts=PartsCost(path, before.rows + rows, before.bytes + size, before.widenings))


def _widened(answer: Neighbours) -> Neighbours:
    before = answer.cost.parts
    assert before is not None
    return replace(answer, cost=replace(answer.cost, parts=replace(before, widenings=before.widenings + 1)))


def _settled(answer: Neighbours, rows: Neighbours, k: int) -> bool:
    """Whether the k-th item comes no later than the last row."""
    if len(answer) < k:
        return False
    assert answer.parts is not None
    at = (answer.distances[k - 1], answer.full[k - 1], answer.ids[k - 1], answer.parts[k - 1])
    return bool(at <= (rows.distances[-1], rows.full[-1], items_of(rows.ids[-1:])[0], parts_of(rows.ids[-1:])[0]))


def _bound(answers: Sequence[Neighbours], k: int, bits: int) -> int:
    """How far rows may be and still be among the k nearest of one of the queries."""
    farthest = max(int(each.distances[k - 1]) if len(each) >= k else bits for each in answers)
    return min(bits, -(-farthest // STEP) * STEP)


def _cut(answer: Neighbours, cap: int | None) -> Neighbours:
    """The same total, and the first so many."""
    if cap is None or len(answer) <= cap:
        return answer
    parts = None if answer.parts is None else answer.parts[:cap]
    first = {"ids": answer.ids[:cap], "distances": answer.distances[:cap], "full": answer.full[:cap], "parts": parts}
    return replace(answer, **first)  # type: ignore[arg-type]


def _shares(queries: Places, wanted: int) -> Iterator[Places]:
    """As many queries at a time as fit into memory with so many rows each."""
    step = max(1, MOST_KEPT // wanted)
    return (queries[start : start + step] for start in range(0, len(queries), step))


def _as_neighbours(best: Reranked, cost: Cost) -> Neighbours:
    """What agrees best as what is nearest: in the same order."""
    return Neighbours(best.ids, -best.scores, np.zeros(len(best.ids), np.int32), len(best.ids), cost)
