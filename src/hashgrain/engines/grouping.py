"""Grouping neighbours that are parts to items, each by its nearest part.

Rows of parts come in the order of distance, whole distance, item, part, which is also the order of the answer. So the
first rows contain the best part of every item among them, and all other items come after the last of those rows. The k
nearest items are known once the k-th item comes no later than the last row. Until then more rows are fetched.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from hashgrain.codes import Words
from hashgrain.engines.part_rows import count_rows, item_ids, part_numbers
from hashgrain.hamming import Cost, Index, Neighbours, PartsCost, Reranked, Rows, Weights, agreeing, nearest, within
from hashgrain.hamming.rows import pieces

WIDENING = 4  # rows per item at first; and the factor for the next try, if they are of too few items
MAX_ROWS_ASKED = 1 << 20  # rows per query; if these are too few, all rows are scanned, about so many at a time
MAX_ROWS_IN_MEMORY = 1 << 22  # for queries that run together
BOUND_STEP = 8  # bounds are rounded up to it, since the fastest path is learned for each bound separately

QueryNumbers = NDArray[np.int64]  # indexes of queries
FetchRows = Callable[[QueryNumbers, Sequence[Rows], int], list[Neighbours]]  # so many nearest rows of these queries


@dataclass(frozen=True)
class PartRows:
    """The rows of parts to search. `per_item` is about how many an item has."""

    segments: Sequence[Rows]
    per_item: float
    indexes: Sequence[Index] = ()
    threads: int | None = None

    def nearest(
        self,
        queries: Words,
        k: int,
        whole: Sequence[Neighbours],
        *,
        bits: int,
        weights: Weights | None,
        radii: Sequence[int],
    ) -> list[Neighbours]:
        """For each query the k nearest items by their best part, of those parts that are at most its radius away.
        `whole` holds the k nearest by their whole code."""
        answers = [as_part_zero(each) for each in whole]

        def fetch(numbers: QueryNumbers, rows: Sequence[Rows], n_rows: int) -> list[Neighbours]:
            of_each = [min(radii[query], _last_distance(answers[query], k, bits)) for query in numbers.tolist()]
            found = nearest(
                queries[numbers],
                rows,
                n_rows,
                bits=bits,
                weights=weights,
                radius=None if weights else _bound(max(of_each), bits),
                indexes=self.indexes if rows is self.segments else (),
                threads=self.threads,
            )
            return found if weights else [within_radius(*each) for each in zip(found, of_each, strict=True)]

        self._group_all(answers, k, fetch, np.flatnonzero(np.array(radii) >= 0))
        return answers

    def agreeing(self, outputs: NDArray[np.float32], k: int, whole: Reranked, cost: Cost) -> tuple[Reranked, Cost]:
        """The k items that agree best with outputs, by their best part. `whole` holds those k by their whole code."""
        answers = [as_part_zero(_as_neighbours(whole, cost))]

        def fetch(numbers: QueryNumbers, rows: Sequence[Rows], n_rows: int) -> list[Neighbours]:
            return [_as_neighbours(*agreeing(outputs, rows, n_rows, threads=self.threads))]

        self._group_all(answers, k, fetch, np.arange(1))
        (best,) = answers
        return Reranked(best.ids, -best.distances.astype(np.float64), best.parts), best.cost

    def _group_all(self, answers: list[Neighbours], k: int, fetch: FetchRows, pending: QueryNumbers) -> None:
        """Add rows to these answers until the first k items of each are known."""
        size, n_rows = count_rows(self.segments), self._first(k)
        if not size:
            return
        while len(pending) and n_rows <= MAX_ROWS_ASKED:
            unsettled = []
            for numbers in _query_groups(pending, n_rows):
                for query, rows_found in zip(numbers.tolist(), fetch(numbers, self.segments, n_rows), strict=True):
                    answers[query] = group_by_item([answers[query], rows_found], k)
                    if len(rows_found) == n_rows < size and not _is_final(answers[query], rows_found, k):
                        answers[query] = _count_widening(answers[query])
                        unsettled.append(query)
            pending, n_rows = np.array(unsettled, np.int64), self._next(n_rows, k)
        for query in pending:
            for rows in self._runs():
                answers[query] = group_by_item([answers[query], *fetch(pending[pending == query], rows, size)], k)

    def within(
        self, queries: Words, radius: int, whole: Sequence[Neighbours], *, bits: int, cap: int | None
    ) -> list[Neighbours]:
        """For each query all items with a part at most `radius` away, or the `cap` nearest; `total` counts them all.
        `whole` holds all items whose whole code is that near."""
        answers = [as_part_zero(each) for each in whole]
        size, n_rows = count_rows(self.segments), self._first(cap or 1)

        def fetch(numbers: QueryNumbers, most: int | None) -> list[Neighbours]:
            asked = queries[numbers]
            return within(asked, self.segments, radius, bits=bits, cap=most, indexes=self.indexes, threads=self.threads)

        for numbers in _query_groups(np.arange(len(answers) if size else 0), n_rows):
            for query, rows_found in zip(numbers, fetch(numbers, n_rows), strict=True):
                answers[query] = group_by_item([answers[query], rows_found])
                if rows_found.total <= len(rows_found):
                    continue
                answers[query] = _count_widening(answers[query])
                if rows_found.total <= MAX_ROWS_ASKED:
                    answers[query] = group_by_item([answers[query], *fetch(numbers[numbers == query], None)])
                    continue
                for rows in self._runs():
                    more = within(queries[query : query + 1], rows, radius, bits=bits, threads=self.threads)
                    answers[query] = group_by_item([answers[query], *more])
        return [_truncate(answer, cap) for answer in answers]

    def _first(self, k: int) -> int:
        """How many rows to fetch at first: a few per item, which mostly suffice and are cheaper for an index."""
        return self._at_most(k * min(WIDENING, max(1.0, self.per_item)))

    def _next(self, n_rows: int, k: int) -> int:
        """How many rows to fetch next: as many as k items have, or more by a factor."""
        return self._at_most(max(WIDENING * n_rows, k * self.per_item))

    def _at_most(self, rows: float) -> int:
        return max(1, min(count_rows(self.segments), math.ceil(rows)))

    def _runs(self) -> Iterator[list[Rows]]:
        return pieces(self.segments, -(-count_rows(self.segments) // MAX_ROWS_ASKED))


def as_part_zero(neighbours: Neighbours) -> Neighbours:
    """Neighbours by whole codes as part 0 of each item."""
    cost = replace(neighbours.cost, parts=PartsCost("scan", 0, 0, 0))
    return replace(neighbours, cost=cost, parts=np.zeros(len(neighbours), np.int64))


def group_by_item(answers: Sequence[Neighbours], k: int | None = None) -> Neighbours:
    """The first k items of an answer and of rows of parts, each item by its first row."""
    known, *others = answers
    assert known.parts is not None
    ids = np.concatenate([known.ids, *(item_ids(rows.ids) for rows in others)])
    parts = np.concatenate([known.parts, *(part_numbers(rows.ids) for rows in others)])
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


def _count_widening(answer: Neighbours) -> Neighbours:
    before = answer.cost.parts
    assert before is not None
    return replace(answer, cost=replace(answer.cost, parts=replace(before, widenings=before.widenings + 1)))


def _is_final(answer: Neighbours, rows: Neighbours, k: int) -> bool:
    """Whether the k-th item comes no later than the last row."""
    if len(answer) < k:
        return False
    assert answer.parts is not None
    last = (answer.distances[k - 1], answer.full[k - 1], answer.ids[k - 1], answer.parts[k - 1])
    return bool(last <= (rows.distances[-1], rows.full[-1], item_ids(rows.ids[-1:])[0], part_numbers(rows.ids[-1:])[0]))


def _last_distance(answer: Neighbours, k: int, bits: int) -> int:
    """A distance beyond which no row is among the k nearest."""
    return int(answer.distances[k - 1]) if len(answer) >= k else bits


def _bound(farthest: int, bits: int) -> int:
    return min(bits, -(-farthest // BOUND_STEP) * BOUND_STEP) if farthest > BOUND_STEP else farthest


def within_radius(rows: Neighbours, radius: int) -> Neighbours:
    """The rows at most so far, which come first."""
    n = int(np.searchsorted(rows.distances, radius, side="right"))
    if n == len(rows):
        return rows
    first = {"ids": rows.ids[:n], "distances": rows.distances[:n], "full": rows.full[:n]}
    return replace(rows, **first)  # type: ignore[arg-type]


def _truncate(answer: Neighbours, cap: int | None) -> Neighbours:
    """The first `cap` items, with the same total."""
    if cap is None or len(answer) <= cap:
        return answer
    parts = None if answer.parts is None else answer.parts[:cap]
    first = {"ids": answer.ids[:cap], "distances": answer.distances[:cap], "full": answer.full[:cap], "parts": parts}
    return replace(answer, **first)  # type: ignore[arg-type]


def _query_groups(queries: QueryNumbers, n_rows: int) -> Iterator[QueryNumbers]:
    """Groups of as many queries as fit into memory with so many rows each."""
    step = max(1, MAX_ROWS_IN_MEMORY // n_rows)
    return (queries[start : start + step] for start in range(0, len(queries), step))


def _as_neighbours(best: Reranked, cost: Cost) -> Neighbours:
    """Items by agreement as neighbours, in the same order."""
    return Neighbours(best.ids, -best.scores, np.zeros(len(best.ids), np.int32), len(best.ids), cost)
