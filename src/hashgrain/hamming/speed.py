"""The speed of a scan on this machine, measured once: an index must be faster."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from hashgrain.hamming.native import scan
from hashgrain.hamming.pool import cores, run
from hashgrain.hamming.question import Question
from hashgrain.hamming.rows import Rows, pieces, rows_of

MEMORY_WORDS = 6 << 20  # 48 MB: more than most processors cache
CACHED_WORDS = 1 << 16
WIDE = 4  # words
QUERIES = 64
TRIES = 3


@dataclass(frozen=True)
class Speed:
    """Nanoseconds per word of codes."""

    alone: float  # one query, one thread, codes in main memory
    together: float  # one query, every core
    batched: float  # one of many queries that share a pass, one thread
    batched_wide: float  # the same, codes of several words


@lru_cache(maxsize=1)
def speed() -> Speed:
    """Measure the speed, on first use; takes about a tenth of a second."""
    codes = rows_of(np.full((MEMORY_WORDS, 1), ~np.uint64(0)))
    few, wide = (rows_of(np.full((CACHED_WORDS // n, n), ~np.uint64(0))) for n in (1, WIDE))
    one = Question(np.zeros((1, 1), np.uint64), 64, 1, 0)  # no row matches: only the scan itself is timed
    many, many_wide = (Question(np.zeros((QUERIES, n), np.uint64), 64 * n, 1, 0) for n in (1, WIDE))
    shares = list(pieces([codes], cores()))
    return Speed(
        alone=_ns(lambda: scan(one, [codes])) / MEMORY_WORDS,
        together=_ns(lambda: run([lambda s=share: scan(one, s) for share in shares], cores())) / MEMORY_WORDS,  # type: ignore[misc]
        batched=_ns(lambda: scan(many, [few])) / CACHED_WORDS / QUERIES,
        batched_wide=_ns(lambda: scan(many_wide, [wide])) / CACHED_WORDS / QUERIES,
    )


def scan_ns(question: Question, parts: Sequence[Rows], threads: int) -> float:
    """The expected time of a scan of these rows per query: thread time, or wall-clock time if a single query uses all
    threads."""
    words = sum(len(part.ids) for part in parts) * ((question.bits + 63) // 64)
    n, known = len(question.queries), speed()
    if n == 1:
        return words * (known.alone if threads == 1 else known.together)
    shared = min(QUERIES, -(-n // threads))
    batched = known.batched if question.bits <= 64 else known.batched_wide
    return words * max(batched, known.alone / shared)


def _ns(work: Callable[[], object]) -> float:
    times = []
    for _ in range(TRIES):
        start = time.perf_counter_ns()
        work()
        times.append(time.perf_counter_ns() - start)
    return min(times)
