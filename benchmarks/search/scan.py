"""The exact scan against the exact scans of Faiss and usearch."""

from __future__ import annotations

from collections.abc import Iterator

from hashgrain.apps.search_bench import read_bandwidth
from hashgrain.hamming import kinds, rows_of
from made_codes import made
from report import table, write_section
from rivals import check_same, faiss_flat, of_faiss, ours, ratio, timed, usearch_exact

SINGLE = [("uniform", n, bits) for n in (1_000_000, 10_000_000) for bits in (64, 128, 256, 512)]
SINGLE += [(kind, 10_000_000, 64) for kind in ("clustered", "real")] + [("real", 80_000, 128)]
BATCHES = [(1_000_000, bits) for bits in (64, 128, 256, 512)] + [(10_000_000, 64)]
BATCH, BATCH_RUNS = 256, 5


def singles() -> Iterator[list[object]]:
    for kind, n, bits in SINGLE:
        words, queries = made(kind, n, bits)
        parts, flat = [rows_of(words)], faiss_flat(words)
        check_same(ours(parts, bits, 2), of_faiss(flat, 2), queries[:8], 100)
        for threads in (1, 2):
            for k in (10, 100, 1000):
                own, peer = timed(ours(parts, bits, threads), queries, k), timed(of_faiss(flat, threads), queries, k)
                other = timed(usearch_exact(words, threads), queries, k, runs=3) if (n, k) == (1_000_000, 10) else "-"
                read = words.nbytes / own.median / 1e6
                limit = read_bandwidth(parts, threads)
                share = f"{read:.0f} of {limit:.0f} ({100 * read / limit:.0f} %)"
                yield [ratio(peer, own), kind, f"{n:,}", bits, k, threads, own, peer, other, share]
                print(
                    *[str(cell) for cell in [ratio(peer, own), kind, n, bits, k, threads, own, peer, share]], flush=True
                )


def batches() -> Iterator[list[object]]:
    for n, bits in BATCHES:
        words, queries = made("uniform", n, bits, queries=BATCH * 2)
        parts, flat = [rows_of(words)], faiss_flat(words)
        for threads in (1, 2):
            for k in (10, 100, 1000):
                runs = BATCH_RUNS if n <= 1_000_000 else 3
                own = timed(ours(parts, bits, threads), queries, k, BATCH, runs)
                peer = timed(of_faiss(flat, threads), queries, k, BATCH, runs)
                row = [ratio(peer, own), f"{n:,}", bits, k, threads, own, peer]
                yield row
                print(*map(str, row), flush=True)


def main() -> None:
    one = list(singles())
    many = list(batches())
    columns = ["Faiss / ours", "codes", "n", "bits", "k", "threads", "ours ms", "Faiss flat ms", "usearch exact ms"]
    text = f"""Kernels in use: {kinds()[0]}. Both exact, and checked to give the same distances. Medians of 25 queries,
each another one, one engine after the other, in memory; usearch of 3. Faiss does not share one query out among threads.
"Read" is what the scan reads a second, beside what the machine reads with as many threads doing nothing else; a million
codes of 64 or 128 bits fit into its cache.

### One query

{table([*columns, "read GB/s"], one)}

### {BATCH} queries at once

Medians of {BATCH_RUNS} calls (3 at ten million).

{table(["Faiss / ours", "n", "bits", "k", "threads", "ours ms", "Faiss flat ms"], many)}
"""
    write_section("6-search-scan", "Exact scan", "python benchmarks/search/scan.py", text)


if __name__ == "__main__":
    main()
