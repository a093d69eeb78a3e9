"""From codes and labels to counts: the number of items of each grade at each distance from each query.

Every figure is computed from these counts alone, so it cannot depend on the order of ties.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hashgrain.codes import Codes
from hashgrain.errors import EvaluationError
from hashgrain.evaluate.hypergeometric import Counts
from hashgrain.evaluate.labels import Grades, Labels, Paths, Sets, as_labels
from hashgrain.hamming import count_ranges, count_shared, rows_of
from hashgrain.hamming.pool import check_threads, run

CELLS_AT_ONCE = 1 << 23  # scores in memory at a time: 64 MB
LEAST_AT_ONCE = 16  # queries: with fewer, reading the database dominates the time
ROWS_AT_ONCE = 1 << 15


@dataclass(frozen=True, eq=False)
class Tally:
    """Counts by query, grade and bin. Bins are ordered from near to far: one per distance, or one per rank.

    An item is *relevant* from grade `relevant_from` on.
    """

    graded: Counts  # (queries, grades + 1, bins)
    relevant_from: int = 1

    def __len__(self) -> int:
        return len(self.graded)

    @cached_property
    def all(self) -> Counts:
        return np.asarray(self.graded.sum(axis=1))

    @cached_property
    def good(self) -> Counts:
        return np.asarray(self.graded[:, self.relevant_from :].sum(axis=1))

    @cached_property
    def before(self) -> Counts:
        """The number of items in the bins before each bin."""
        return np.asarray(np.cumsum(self.all, axis=1) - self.all)

    @cached_property
    def good_before(self) -> Counts:
        return np.asarray(np.cumsum(self.good, axis=1) - self.good)

    @cached_property
    def relevant(self) -> Counts:
        """The number of relevant items of each query."""
        return np.asarray(self.good.sum(axis=1))

    @cached_property
    def tie_free(self) -> bool:
        """Whether the order inside a bin cannot change a figure: all or none of its items are relevant."""
        return bool(((self.good == 0) | (self.good == self.all)).all())

    @cached_property
    def database(self) -> int:
        """The number of items that each query was compared with."""
        return int(self.graded[0].sum()) if len(self.graded) else 0

    def relevant_at(self, grade: int) -> Tally:
        """The same counts, with relevance from another grade on."""
        return Tally(self.graded, grade)

    def untied(self, *, best: bool) -> Tally:
        """Every tie broken in favor of the method or against it: the items of a bin sorted by grade."""
        graded = self.graded[:, ::-1] if best else self.graded
        queries, grades, bins = graded.shape
        spread = np.zeros((queries, grades, bins, grades), np.int64)
        for place in range(grades):
            spread[:, grades - 1 - place if best else place, :, place] = graded[:, place]
        return Tally(spread.reshape(queries, grades, bins * grades), self.relevant_from)


def tally(
    queries: Codes,
    database: Codes,
    wanted: Labels | ArrayLike,
    labels: Labels | ArrayLike,
    *,
    relevant_from: int | None = None,
    threads: int | None = None,
) -> Tally:
    """Counts over Hamming distances of queries and database, both binary (symmetric).

    `wanted` are the labels of the queries, `labels` those of the database (see `as_labels`). An item is relevant if it
    has the same class, at the last level of a path unless `relevant_from` names another; or if it shares a label.
    """
    if queries.grains.bits != database.grains.bits:
        raise EvaluationError(f"queries of {queries.grains.bits} bits, a database of {database.grains.bits}")
    goals, truths = _matching(wanted, labels, len(queries), len(database))
    bins = database.grains.bits + 1
    if isinstance(goals, Paths) and isinstance(truths, Paths):
        order, bounds = _ranges(goals, truths)
        counts = count_ranges(queries.words, rows_of(database.words[order]), bounds, threads=threads)
    elif isinstance(goals, Sets) and isinstance(truths, Sets):
        grades = goals.most_grades
        rows = rows_of(database.words)
        counts = count_shared(queries.words, rows, goals.words, truths.words, grades, threads=threads)
    return Tally(counts[:, :, :bins], _relevant_from(goals, relevant_from))


def tallies_of_vectors(
    queries: NDArray[np.float32],
    database: NDArray[np.float32],
    wanted: Labels | ArrayLike,
    labels: Labels | ArrayLike,
    *,
    relevant_from: int | None = None,
    threads: int | None = None,
) -> Iterator[Tally]:
    """Counts over the ranks of real-valued similarities (the dot products), in chunks of queries.

    For cosine, pass unit vectors. For asymmetric search, pass the outputs of the queries and a database of -1 and +1.
    Equal scores are a tie, like equal distances.
    """
    for vectors, name in ((queries, "queries"), (database, "database")):
        if vectors.ndim != 2 or not np.isfinite(vectors).all():
            raise EvaluationError(f"the features of the {name} are not all numbers (NaN or infinite)")
    if queries.shape[1] != database.shape[1]:
        raise EvaluationError(f"queries of {queries.shape[1]} values, a database of {database.shape[1]}")
    goals, truths = _matching(wanted, labels, len(queries), len(database))
    grades, least = goals.most_grades, _relevant_from(goals, relevant_from)
    step = max(LEAST_AT_ONCE, CELLS_AT_ONCE // max(1, len(database) * (grades + 2)))
    count = check_threads(threads)
    for start in range(0, len(queries), step):
        part = slice(start, start + step)
        scores = _scores(queries[part], database)
        graded = goals[part].grades(truths)  # type: ignore[arg-type]
        ranked = run([partial(_rank, scores[i], graded[i], grades) for i in range(len(scores))], count)
        counts = np.zeros((len(scores), grades + 1, max((each.shape[1] for each in ranked), default=0)), np.int64)
        for row, each in zip(counts, ranked, strict=True):
            row[:, : each.shape[1]] = each
        yield Tally(counts, least)


def _scores(queries: NDArray[np.float32], database: NDArray[np.float32]) -> NDArray[np.float32]:
    """Dot products, summed in double precision and rounded to single. The rounding of sums depends on the position in
    the matrix; the second rounding hides that, so that equal vectors tie. In chunks: the database is never copied."""
    scores = np.empty((len(queries), len(database)), np.float32)
    left = queries.astype(np.float64)
    for start in range(0, len(database), ROWS_AT_ONCE):
        rows = slice(start, start + ROWS_AT_ONCE)
        scores[:, rows] = left @ database[rows].T.astype(np.float64)
    return scores


def _rank(scores: NDArray[np.float32], graded: Grades, grades: int) -> Counts:
    """(grades + 1, bins): a tie is a bin, and so are adjacent items of the same grade, whose order does not matter."""
    order = np.argsort(-scores)
    falling, grade = scores[order], np.minimum(graded[order], grades)
    alone = np.r_[True, falling[1:] != falling[:-1], True]  # a tie begins here
    tied = ~(alone[:-1] & alone[1:])
    same_as_before = np.r_[False, (grade[1:] == grade[:-1]) & ~tied[1:] & ~tied[:-1]]
    bins = np.cumsum(alone[:-1] & ~same_as_before) - 1
    n_bins = int(bins[-1]) + 1 if len(bins) else 0
    return np.bincount(grade * n_bins + bins, minlength=(grades + 1) * n_bins).reshape(grades + 1, n_bins)


def _matching(
    wanted: Labels | ArrayLike, labels: Labels | ArrayLike, n_queries: int, n_database: int
) -> tuple[Labels, Labels]:
    goals, truths = as_labels(wanted, name="labels of the queries"), as_labels(labels, name="labels of the database")
    for given, count, name in ((goals, n_queries, "queries"), (truths, n_database, "database")):
        if len(given) != count:
            raise EvaluationError(f"{count} codes of the {name} take as many labels, not {len(given)}")
    if not len(goals) or not len(truths):  # an empty table does not show whether it holds paths or sets
        goals, truths = (goals, goals[:0]) if len(goals) else (truths[:0], truths)
    if type(goals) is not type(truths):
        raise EvaluationError("queries and database must both have classes, or both have sets of labels")
    if isinstance(goals, Paths) and isinstance(truths, Paths) and goals.ids.shape[1] != truths.ids.shape[1]:
        raise EvaluationError(
            f"paths of {goals.ids.shape[1]} levels for the queries, of {truths.ids.shape[1]} for the database"
        )
    if isinstance(goals, Sets) and isinstance(truths, Sets) and len(goals) and len(truths):
        widths = {np.shape(table)[1:] for table in (wanted, labels) if not isinstance(table, (Paths, Sets))}
        if goals.words.shape[1] != truths.words.shape[1] or len(widths) > 1:
            raise EvaluationError("the label sets of queries and database have different widths")
    return goals, truths


def _relevant_from(goals: Labels, asked: int | None) -> int:
    most = goals.most_grades
    least = asked if asked is not None else most if isinstance(goals, Paths) else 1
    if not 1 <= least <= most:
        raise EvaluationError(f"relevant from grade {least} is out of range; there are grades 1 to {most}")
    return least


def _ranges(goals: Paths, truths: Paths) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """An order of the database in which items that share some levels with a query are contiguous, and their ranges."""
    n = len(truths)
    joined = np.concatenate([truths.ids, goals.ids])
    keys = np.zeros(len(joined), np.int64)
    unknown = np.zeros(len(joined), np.bool_)
    levels = []
    for column in joined.T:
        unknown |= column < 0
        numbers = np.unique(column, return_inverse=True)[1]
        keys = np.unique(keys * (numbers.max(initial=0) + 1) + numbers, return_inverse=True)[1]
        levels.append((keys, unknown[n:].copy()))
    order = np.argsort(keys[:n], kind="stable")
    bounds = np.zeros((len(goals), len(levels), 2), np.int64)
    for level, (classes, lost) in enumerate(levels):
        ordered, asked = classes[:n][order], classes[n:]
        bounds[:, level, 0] = np.searchsorted(ordered, asked, "left")
        bounds[:, level, 1] = np.searchsorted(ordered, asked, "right")
        if level:  # if a level is not known, the range is empty and lies inside the one before
            lost_at = bounds[:, level - 1, 0]
        else:
            lost_at = np.zeros(len(goals), np.int64)
        bounds[lost, level, 0] = bounds[lost, level, 1] = lost_at[lost]
    return order, bounds
