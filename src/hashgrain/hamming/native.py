"""The compiled kernels, with our own types for questions and answers. `plain` replaces them if they are not built."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hashgrain.hamming import plain
from hashgrain.hamming.neighbours import Cost, Neighbours, SearchPath
from hashgrain.hamming.plain import scaled
from hashgrain.hamming.question import Question
from hashgrain.hamming.rows import Rows

try:
    from hashgrain.hamming import _kernels
except ImportError:  # installed without a compiler: slower, with the same answers
    _kernels = None  # type: ignore[assignment, unused-ignore]
kernels: Any = _kernels


def compiled() -> bool:
    """Whether the compiled kernels are in use."""
    return kernels is not None


def kinds() -> tuple[str, ...]:
    """The kernels that this processor can run, the fastest first."""
    return kernels.KINDS if compiled() else ()


def scan(question: Question, parts: Sequence[Rows], kind: str | None = None) -> list[Neighbours]:
    """Compare every query with every row."""
    answer = kernels.scan(_asked(question, kind), [_part(part) for part in parts])
    return [neighbors for neighbors in _answers(question, "scan", answer) if neighbors is not None]


def search_index(
    question: Question,
    parts: Sequence[Rows],
    rest: Sequence[Rows],
    path: SearchPath,
    indexes: Sequence[tuple[Any, ...]],
    scan_ns: float,
    kind: str | None = None,
    shared: NDArray[np.int64] | None = None,
    share: int = 0,
    shares: int = 1,
) -> list[Neighbours | None]:
    """Search by tables or lists; None for a query that a scan answers faster.

    Several threads may work on one query: each searches its share of the index, and `shared` holds a common limit.
    """
    search = kernels.search_tables if path == "tables" else kernels.search_lists
    everything, left = [_part(part) for part in parts], [_part(part) for part in rest]
    asked = _asked(question, kind, shared, share, shares)
    return _answers(question, path, search(asked, everything, left, indexes, scan_ns))


def nearest_one(question: Question, parts: Sequence[Rows]) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """The nearest id and its distance for each query, for many queries over few rows."""
    if not compiled():
        neighbors = plain.scan(question, parts)
        ids, near = [each.ids for each in neighbors], [each.distances for each in neighbors]
        return np.concatenate(ids), np.concatenate(near).astype(np.int32)
    columns = kernels.scan(_asked(question, None), [_part(part) for part in parts])
    return np.frombuffer(columns[0], np.int64), np.frombuffer(columns[1], np.int32)


def _asked(
    question: Question,
    kind: str | None,
    shared: NDArray[np.int64] | None = None,
    share: int = 0,
    shares: int = 1,
) -> tuple[Any, ...]:
    q = question
    return (q.queries, q.n_words, q.bits, q.k, q.radius, q.counting, q.weighted, kind, shared, share, shares)


def _part(rows: Rows) -> tuple[Any, ...]:
    return (rows.first_row, len(rows.ids), rows.planes, rows.ids, rows.mask, rows.ascending)


def _answers(question: Question, path: SearchPath, answer: tuple[bytes, ...]) -> list[Neighbours | None]:
    ids, near, full = (np.frombuffer(column, kind) for column, kind in zip(answer, ("i8", "i4", "i4"), strict=False))
    counts, counted, looked = (np.frombuffer(column, np.int64).tolist() for column in answer[3:6])
    answers: list[Neighbours | None] = []
    width = 8 * ((question.bits + 63) // 64)
    start = 0
    for i, complete in enumerate(answer[6]):
        if not complete:
            answers.append(None)
            continue
        end = start + counts[i]
        cost = Cost(path, looked[i], looked[i] * width)
        total = counted[i] if question.counting else counts[i]
        answers.append(Neighbours(ids[start:end], scaled(question, near[start:end]), full[start:end], total, cost))
        start = end
    return answers
