"""Exact search with an index at ten million codes, against exact and approximate peers."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import chain

import faiss
import numpy as np

from hashgrain.hamming import build_lists, build_tables, rows_of, tables_bytes
from hashgrain.hamming.build import lists_bytes
from made_codes import made
from report import table, write_section
from rivals import as_bytes, check_same, faiss_flat, of_faiss, ours, ratio, timed

N = 10_000_000
CASES = [("uniform", 64), ("clustered", 64), ("real", 64), ("clustered", 128), ("real", 128), ("clustered", 256)]
CASES += [("real", 256), ("uniform", 128)]
BATCH = 64


def cases() -> Iterator[list[object]]:
    for kind, bits in CASES:
        words, queries = made(kind, N, bits)
        parts, flat = [rows_of(words)], faiss_flat(words)
        begun = time.perf_counter()
        index = (build_tables if bits == 64 else build_lists)(parts, 0, N, bits)
        build = time.perf_counter() - begun
        memory = (tables_bytes if bits == 64 else lists_bytes)(N, bits)
        check_same(ours(parts, bits, 2, [index]), of_faiss(flat, 2), queries[:8], 100)
        for threads in (1, 2):
            for k in (10, 100, 1000):
                by_index = timed(ours(parts, bits, threads, [index]), queries, k)
                by_scan, peer = (
                    timed(ours(parts, bits, threads), queries, k),
                    timed(of_faiss(flat, threads), queries, k),
                )
                many = timed(ours(parts, bits, threads, [index]), queries, k, BATCH, 5)
                many_scan = timed(ours(parts, bits, threads), queries, k, BATCH, 5)
                row = [ratio(peer, by_index), f"{by_scan.median / by_index.median:.2f}x", kind, bits, k, threads]
                row += [by_index, f"{by_index.p95:.3g}", by_scan, peer]
                row += [f"{many_scan.median / many.median:.2f}x", f"{build:.1f} s, {memory / 1e6:.0f} MB"]
                yield row
                print(*map(str, row), flush=True)


def approximate() -> Iterator[list[object]]:
    """Faiss's own indexes on a million codes of 64 bits: what they find of the true neighbours, and how fast."""
    n, k = 1_000_000, 10
    for kind in ("uniform", "clustered", "real"):
        words, queries = made(kind, n, 64)
        parts, flat = [rows_of(words)], faiss_flat(words)
        index = build_tables(parts, 0, n, 64)
        truth = flat.search(as_bytes(queries), k)[0]
        ours_exact = [("**ours, exact**", ours(parts, 64, 1, [index]), 0.0)]
        peers = ((name, of_faiss(built, 1), seconds) for name, built, seconds in _built(words))
        for name, ask, seconds in chain(ours_exact, peers):  # each peer is asked before its setting changes
            found = ask(queries, k)
            recall = float(np.mean([(f <= t[-1]).sum() / k for f, t in zip(found, truth, strict=True)]))
            row = [kind, name, f"{recall:.3f}", timed(ask, queries, k), f"{seconds:.1f}"]
            yield row
            print(*map(str, row), flush=True)


def _built(words: np.ndarray) -> Iterator[tuple[str, faiss.IndexBinary, float]]:
    faiss.omp_set_num_threads(2)
    codes = as_bytes(words)
    for flips in (0, 1, 2):
        begun = time.perf_counter()
        index = faiss.IndexBinaryMultiHash(64, 4, 16)
        index.add(codes)
        index.nflip = flips
        yield f"Faiss MultiHash 4 x 16, {flips} flips", index, time.perf_counter() - begun
    begun = time.perf_counter()
    quantizer = faiss.IndexBinaryFlat(64)
    index = faiss.IndexBinaryIVF(quantizer, 64, 1024)
    index.train(codes[:50_000])
    index.add(codes)
    seconds = time.perf_counter() - begun
    for probes in (1, 8, 32):
        index.nprobe = probes
        yield f"Faiss IVF 1024, {probes} probes", index, seconds
    begun = time.perf_counter()
    graph = faiss.IndexBinaryHNSW(64, 16)
    graph.add(codes)
    seconds = time.perf_counter() - begun
    for effort in (16, 64):
        graph.hnsw.efSearch = effort
        yield f"Faiss HNSW 16, ef {effort}", graph, seconds


def main() -> None:
    exact = list(cases())
    found = list(approximate())
    columns = ["Faiss flat / ours", "own scan / ours", "codes", "bits", "k", "threads", "ours ms", "p95"]
    columns += ["own scan ms", "Faiss flat ms", f"batch of {BATCH}: own scan / ours", "built in, memory"]
    text = f"""Ten million codes, in memory; both exact and checked to give the same distances. Medians of 25 queries,
each another one. Scan, index, and index shared by all threads are chosen between as they were timed: where the second
column is about 1, a scan was quicker than the index, both columns show the same scan, and what is between them is the
noise of the machine. `real` is made from the codes of 80,000 pictures as told in `made_codes.py`; 256 bits are the
code of a picture and that of its middle.

{table(columns, exact)}

### Approximate indexes of Faiss

A million codes, 64 bits, k = 10, one thread. Recall counts a neighbour as found where it is as near as the true tenth.

{table(["codes", "index", "recall", "ms", "built in s"], found)}
"""
    write_section("7-search-index", "Exact search by index", "python benchmarks/search/indexed.py", text)


if __name__ == "__main__":
    main()
