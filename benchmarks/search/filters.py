"""A filter costs nothing, a narrow one saves nearly everything; deleted rows the same. Faiss's own ratio beside."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator

import faiss
import numpy as np

from hashgrain.engines import filter_rows
from hashgrain.hamming import rows_of
from made_codes import made
from report import table, write_section
from rivals import RUNS, as_bytes, faiss_flat, ours, timed

N, BITS, K = 10_000_000, 64, 10
MANY = 25
# Which part of the rows a filter keeps, and of how many questions with that filter it is told.
ASKED = ((1.0, 1), (0.99, 1), (0.5, 1), (0.1, 1), (0.1, MANY), (0.01, 1), (0.001, 1), (0.0001, 1))


def faiss_selected(index: faiss.IndexBinaryFlat, kept: np.ndarray, queries: np.ndarray, threads: int) -> float | None:
    """Milliseconds a query with a bitmap selector; None where Faiss refuses one."""
    faiss.omp_set_num_threads(threads)
    bits = np.zeros((N + 7) // 8 * 8, bool)
    bits[kept] = True
    selector = faiss.IDSelectorBitmap(np.packbits(bits, bitorder="little"))
    asked, times = as_bytes(queries), []
    try:
        for i in range(-2, RUNS):
            begun = time.perf_counter()
            index.search(asked[i % len(asked)][None], K, params=faiss.SearchParameters(sel=selector))
            if i >= 0:
                times.append(1000 * (time.perf_counter() - begun))
    except (RuntimeError, AssertionError, TypeError):
        return None
    return statistics.median(times)


def rows() -> Iterator[list[object]]:
    words, queries = made("uniform", N, BITS)
    everything, flat = [rows_of(words)], faiss_flat(words)
    rng = np.random.default_rng(0)
    for threads in (1, 2):
        faiss_whole = faiss_selected(flat, np.arange(N), queries, threads)
        for share, questions in ASKED:
            where = np.sort(rng.choice(N, int(share * N), replace=False))
            begun = time.perf_counter()
            kept = filter_rows(everything, where, questions)
            prepared = 1000 * (time.perf_counter() - begun)
            # One after the other, twice: what another program does to the machine's memory falls on both.
            pairs = [[timed(ours(rows_, BITS, threads), queries, K) for rows_ in (kept, everything)] for _ in range(2)]
            own, whole = (min((pair[i] for pair in pairs), key=lambda each: each.median) for i in (0, 1))
            peer = faiss_selected(flat, where, queries, threads)
            theirs = "refused" if peer is None or faiss_whole is None else f"{peer:.3g} ({peer / faiss_whole:.2f}x)"
            row = [f"{100 * share:g} %", questions, threads, f"**{own.median / whole.median:.2f}x**", own, whole]
            row += [f"{prepared:.1f}", theirs]
            yield row
            print(*map(str, row), flush=True)


def main() -> None:
    columns = [
        "kept",
        "questions",
        "threads",
        "filtered / whole",
        "filtered ms",
        "whole ms",
        "ids to rows ms, once",
        "Faiss ms (ratio)",
    ]
    text = f"""Scan of {N:,} uniform codes of {BITS} bits, k = {K}, medians of 25. "Whole" is the same scan without a
filter. Turning a filter's ids into what the kernels read is done once for all questions with one filter: of
few rows, or where many questions will follow, the codes are gathered; otherwise rows are masked. Faiss: IndexBinaryFlat
with a bitmap selector, beside the same that keeps all. Deleted rows are masked in the same way: 99 % kept is a
library of which one row in a hundred was deleted.

{table(columns, list(rows()))}
"""
    write_section("9-search-filters", "Filters and deletes", "python benchmarks/search/filters.py", text)


if __name__ == "__main__":
    main()
