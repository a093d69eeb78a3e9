"""Self join: all pairs of a million codes within six bits, against a range search of every code."""

from __future__ import annotations

import time
from collections.abc import Iterator

import faiss

from hashgrain.hamming import join, rows_of
from made_codes import made
from report import table, write_section
from rivals import as_bytes, faiss_flat

N, BITS, RADIUS, THREADS = 1_000_000, 64, 6, 2
SAMPLE = 2000


def rows() -> Iterator[list[object]]:
    for kind in ("uniform", "clustered", "real"):
        words, _ = made(kind, N, BITS)
        times = []
        for _ in range(3):
            begun = time.perf_counter()
            pairs = sum(len(some) for some in join([rows_of(words)], RADIUS, bits=BITS, threads=THREADS))
            times.append(time.perf_counter() - begun)
        own = sorted(times)[1]
        flat = faiss_flat(words)
        faiss.omp_set_num_threads(THREADS)
        begun = time.perf_counter()
        found = flat.range_search(as_bytes(words[:SAMPLE]), RADIUS + 1)[0][-1]
        peer = (time.perf_counter() - begun) * N / SAMPLE
        estimate = (int(found) - SAMPLE) * N / SAMPLE / 2
        row = [f"**{peer / own:,.0f}x**", kind, f"{pairs:,}", f"{own:.2f}", f"{peer:,.0f}", f"{estimate:,.0f}"]
        yield row
        print(*map(str, row), flush=True)


def main() -> None:
    columns = ["Faiss / ours", "codes", "pairs", "ours s", "Faiss s, from a sample", "pairs Faiss would find"]
    text = f"""{N:,} codes of {BITS} bits, all pairs at most {RADIUS} bits apart, {THREADS} threads, median of 3. Faiss:
range search of {SAMPLE:,} of the codes, times {N // SAMPLE}; the pairs it would find are reckoned the same way and
vouch for ours.

{table(columns, list(rows()))}
"""
    write_section("9-search-join", "Self join", "python benchmarks/search/joins.py", text)


if __name__ == "__main__":
    main()
