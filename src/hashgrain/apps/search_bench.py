"""How fast a library is searched on this machine, measured on its own codes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np

from hashgrain.codes import Codes, Words, prefix_mask
from hashgrain.engines import EmbeddedEngine
from hashgrain.engines.embedded import compared_bits
from hashgrain.errors import QueryError
from hashgrain.hamming import Index, Rows, compiled, kinds, native, plain
from hashgrain.hamming.pool import check_threads, run
from hashgrain.hamming.question import ask_nearest
from hashgrain.hamming.rows import pieces
from hashgrain.library import Library

FLIPPED = 0.05  # of the bits of a stored code: about what a crop or a change of color does
BATCH = 256
CHECKED = 5
READINGS = 15  # of the codes, to learn how fast memory is at best


@dataclass(frozen=True)
class SearchTimings:
    """One grain, searched one way."""

    grain: str
    bits: int
    way: str  # index or scan
    threads: int
    p50_ms: float
    p95_ms: float
    p99_ms: float
    batch_queries_per_s: float
    compared: float  # part of the rows that were compared
    gb_per_s: float | None  # bytes of codes that a scan read; None for an index
    bandwidth_share: float | None
    recall: float  # of the answers that numpy gives; anything but 1.0 is a defect


def measure_search(
    library: Library, *, k: int = 10, queries: int = 200, threads: int | None = None, seed: int = 0
) -> Iterator[dict[str, Any]]:
    """Yield the machine first, then each measurement, for each grain by index and by scan."""
    count = check_threads(threads)
    with library.store.snapshot() as snapshot:
        if not len(snapshot):
            raise QueryError(f"{library.path} is empty; add pictures first")
        parts = snapshot.segments
        bandwidth = read_bandwidth(parts, count)
        yield {
            "items": len(snapshot),
            "rows": sum(len(part.ids) for part in parts),
            "kernels": kinds()[0] if compiled() else "numpy",
            "threads": count,
            "queries": queries,
            "k": k,
            "read_gb_per_s": round(bandwidth, 1),
        }
        indexes = library.indexes.open_all(snapshot)
        asked = changed_codes(parts, queries, library.grains.bits, np.random.default_rng(seed))
        codes = Codes(asked, library.grains)
        for grain in library.grains:
            for way, available in (("index", indexes), ("scan", [])):
                served = [index for index in available if index.serves(compared_bits(library.grains, grain))]
                if way == "scan" or served:
                    yield asdict(_measure(parts, codes, grain, k, served, count, bandwidth))


def _measure(
    parts: Sequence[Rows], codes: Codes, grain: str, k: int, indexes: Sequence[Index], threads: int, bandwidth: float
) -> SearchTimings:
    engine = EmbeddedEngine(parts, codes.grains, indexes, threads)
    rows = sum(len(part.ids) for part in parts)
    times, compared, read = [], 0, 0
    engine.nearest(codes[0], k, grain=grain)
    for i in range(len(codes)):
        start = time.perf_counter()
        (neighbors,) = engine.nearest(codes[i], k, grain=grain)
        times.append(time.perf_counter() - start)
        compared += neighbors.cost.rows
        read += neighbors.cost.bytes
    many = Codes(np.resize(codes.words, (BATCH, codes.grains.n_words)), codes.grains)
    batch = _seconds(lambda: engine.nearest(many, k, grain=grain))
    p50, p95, p99 = (float(1000 * np.percentile(times, p)) for p in (50, 95, 99))
    gb = None if indexes else read / len(codes) / (p50 / 1000) / 1e9
    return SearchTimings(
        grain=grain,
        bits=codes.grains[grain],
        way="index" if indexes else "scan",
        threads=threads,
        p50_ms=round(p50, 3),
        p95_ms=round(p95, 3),
        p99_ms=round(p99, 3),
        batch_queries_per_s=round(BATCH / batch, 1),
        compared=round(compared / max(1, rows) / len(codes), 5),
        gb_per_s=None if gb is None else round(gb, 1),
        bandwidth_share=None if gb is None or not bandwidth else round(gb / bandwidth, 2),
        recall=_recall(engine, parts, codes[: min(CHECKED, len(codes))], grain, k),
    )


def changed_codes(parts: Sequence[Rows], count: int, bits: int, rng: np.random.Generator) -> Words:
    """Codes of the library with some of their bits flipped, as pictures like those in it would have."""
    sizes = [len(part.ids) for part in parts]
    edges = np.cumsum([0, *sizes])
    rows = rng.integers(0, edges[-1], count)
    n_words = len(parts[0].planes)
    codes = np.empty((count, n_words), np.uint64)
    for i, row in enumerate(rows):
        which = int(np.searchsorted(edges, row, "right")) - 1
        codes[i] = [plane[row - edges[which]] for plane in parts[which].planes]
    flips = np.packbits(rng.random((count, 64 * n_words)) < FLIPPED, axis=1, bitorder="little")
    return (codes ^ np.ascontiguousarray(flips).view(np.uint64)) & prefix_mask(bits, n_words)


def read_bandwidth(parts: Sequence[Rows], threads: int) -> float:
    """The highest GB/s at which so many threads can read the codes; 0 if no kernel is compiled."""
    if not compiled():
        return 0.0
    shares = list(pieces(parts, threads))
    size = sum(plane.nbytes for part in parts for plane in part.planes)

    def read(share: Sequence[Rows]) -> None:
        for part in share:
            for plane in part.planes:
                native.kernels.read_all(plane)

    tasks = [partial(read, share) for share in shares]
    return size / min(_seconds(lambda: run(tasks, threads), tries=1) for _ in range(READINGS)) / 1e9


def _recall(engine: EmbeddedEngine, parts: Sequence[Rows], codes: Codes, grain: str, k: int) -> float:
    """The share of numpy's answers that are ours as well, in the same order."""
    ours = engine.nearest(codes, k, grain=grain)
    theirs = plain.scan(ask_nearest(codes.words, parts, k, codes.grains[grain], None), parts)
    same = sum(int((a.ids == b.ids).sum()) for a, b in zip(ours, theirs, strict=True) if len(a) == len(b))
    return same / max(1, sum(map(len, theirs)))


def _seconds(work: Callable[[], object], tries: int = 3) -> float:
    times = []
    for _ in range(tries):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return sorted(times)[tries // 2]
