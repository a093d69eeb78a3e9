"""The compiled kernels, asked and answered in our own types. Where they could not be built, there is `plain`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hashgrain.hamming import plain
from hashgrain.hamming.neighbours import Cost, Neighbours, Path
from hashgrain.hamming.plain import scaled
from hashgrain.hamming.question import Question
from hashgrain.hamming.rows import Rows

try:
    from hashgrain.hamming import _kernels
except ImportError:  # no compiler where it was installed: slower, and otherwise the same
    _kernels = None  # type: ignore[assignment, unused-ignore]
kernels: Any = _kernels


def compiled() -> bool:
    """Whether the compiled kernels are in use."""
    return kernels is not None


def kinds() -> tuple[str, ...]:
    """The kernels this processor can run, the best first."""
    return kernels.KINDS if compiled() else ()


def scan(question: Question, parts: Sequence[Rows], kind: str | None = None) -> list[Neighbours]:
    """Every query against every row."""
    answer = kernels.scan(_asked(question, kind), [_part(part) for part in parts])
    return [found for found in _answers(question, "scan", answer) if found is not None]


def search_index(
    question: Question,
    parts: Sequence[Rows],
    rest: Sequence[Rows],
    path: Path,
    indexes: Sequence[tuple[Any, ...]],
    scan_ns: float,
    kind: str | None = None,
    shared: NDArray[np.int64] | None = None,
    share: int = 0,
    shares: int = 1,
) -> list[Neighbours | None]:
    """By way of tables or lists; None for a query that a scan answers sooner.

    Several threads may work on one query: each looks at its share of the index, and all keep a limit in `shared`.
    """
    search = kernels.search_tables if path == "tables" else kernels.search_lists
    everything, left = [_part(part) for part in parts], [_part(part) for part in rest]
    asked = _asked(question, kind, shared, share, shares)
    return _answers(question, path, search(asked, everything, left, indexes, scan_ns))


def nearest_one(question: Question, parts: Sequence[Rows]) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """For each query the first id and its distance, for many queries over few rows."""
    if not compiled():
        found = plain.scan(question, parts)
        ids, near = [each.ids for each in found], [each.distances for each in found]
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


def _answers(question: Question, path: Path, answer: tuple[bytes, ...]) -> list[Neighbours | None]:
    ids, near, full = (np.frombuffer(column, kind) for column, kind in zip(answer, ("i8", "i4", "i4"), strict=False))
    counts, counted, looked = (np.frombuffer(column, np.int64).tolist() for column in answer[3:6])
    found: list[Neighbours | None] = []
    width = 8 * ((question.bits + 63) // 64)
    start = 0
    for i, complete in enumerate(answer[6]):
        if not complete:
            found.append(None)
            continue
        end = start + counts[i]
        cost = Cost(path, looked[i], looked[i] * width)
        total = counted[i] if question.counting else counts[i]
        found.append(Neighbours(ids[start:end], scaled(question, near[start:end]), full[start:end], total, cost))
        start = end
    return found
