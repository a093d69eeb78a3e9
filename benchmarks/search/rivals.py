"""Ours and the peers behind one face: build once, then ask."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import faiss
import numpy as np
from numpy.typing import NDArray

from hashgrain.hamming import Index, Rows, nearest

Words = NDArray[np.uint64]
Ask = Callable[[Words, int], NDArray[np.int32]]  # queries (n, words), k -> distances (n, k)
RUNS, WARM_UP = 25, 12  # by then an index has been compared with a scan


def as_bytes(words: Words) -> NDArray[np.uint8]:
    return np.ascontiguousarray(words).view(np.uint8).reshape(len(words), -1)


def ours(parts: Sequence[Rows], bits: int, threads: int, indexes: Sequence[Index] = ()) -> Ask:
    def ask(queries: Words, k: int) -> NDArray[np.int32]:
        found = nearest(queries, parts, k, bits=bits, indexes=indexes, threads=threads)
        return np.stack([each.distances for each in found]).astype(np.int32)

    return ask


def faiss_flat(words: Words) -> faiss.IndexBinaryFlat:
    index = faiss.IndexBinaryFlat(64 * words.shape[1])
    index.add(as_bytes(words))
    return index


def of_faiss(index: faiss.IndexBinary, threads: int) -> Ask:
    def ask(queries: Words, k: int) -> NDArray[np.int32]:
        faiss.omp_set_num_threads(threads)
        return index.search(as_bytes(queries), k)[0]

    return ask


def usearch_exact(words: Words, threads: int) -> Ask:
    from usearch.index import MetricKind, search

    database = as_bytes(words)

    def ask(queries: Words, k: int) -> NDArray[np.int32]:
        asked = as_bytes(queries)
        found = search(database, asked, k, MetricKind.Hamming, exact=True, threads=threads)
        return np.asarray(found.distances, np.int32).reshape(len(asked), -1)

    return ask


@dataclass(frozen=True)
class Timed:
    """Milliseconds a call."""

    median: float
    p95: float

    def __str__(self) -> str:
        return f"{self.median:.3g}"


def timed(ask: Ask, queries: Words, k: int, batch: int = 1, runs: int = RUNS) -> Timed:
    """Each call with other queries; the first few are not counted."""
    times = []
    for i in range(-min(WARM_UP, runs), runs):
        start = (i * batch) % (len(queries) - batch + 1)
        some = queries[start : start + batch]
        begun = time.perf_counter()
        ask(some, k)
        if i >= 0:
            times.append(1000 * (time.perf_counter() - begun))
    return Timed(statistics.median(times), float(np.percentile(times, 95)))


def check_same(first: Ask, second: Ask, queries: Words, k: int) -> None:
    """Both are exact, so their distances must be the same, whatever they do with ties."""
    if not np.array_equal(first(queries, k), second(queries, k)):
        raise SystemExit("two exact searches disagree: nothing below would mean anything")


def ratio(peer: Timed, own: Timed) -> str:
    return f"**{peer.median / own.median:.1f}x**"
