"""Time per query from a hundred thousand codes to a hundred million, ours and Faiss, on one log-log plot."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import matplotlib as mpl

from hashgrain.hamming import Tables, build_tables, rows_of, tables_bytes
from made_codes import made
from report import HERE, table, write_section
from rivals import Timed, check_same, faiss_flat, of_faiss, ours, ratio, timed

mpl.use("Agg")
import matplotlib.pyplot as plt

SIZES = (100_000, 1_000_000, 10_000_000, 100_000_000)
K, BITS, THREADS = 10, 64, 2
PLOT = Path("results") / "growth.png"


def measured(kind: str, n: int) -> tuple[list[Timed], Tables, float]:
    """Index, scan and Faiss flat; and what building the index took."""
    words, queries = made(kind, n, BITS)
    parts = [rows_of(words)]
    begun = time.perf_counter()
    index = build_tables(parts, 0, n, BITS)
    build = time.perf_counter() - begun
    flat = faiss_flat(words)
    del words
    by_index, by_scan, peer = ours(parts, BITS, THREADS, [index]), ours(parts, BITS, THREADS), of_faiss(flat, THREADS)
    check_same(by_index, peer, queries[:4], K)
    return [timed(ask, queries, K) for ask in (by_index, by_scan, peer)], index, build


def rows(points: dict[str, list[list[Timed]]]) -> Iterator[list[object]]:
    for kind in ("uniform", "real"):
        points[kind] = []
        for n in SIZES:
            times, index, build = measured(kind, n)
            points[kind].append(times)
            by_index, by_scan, peer = times
            memory = f"{build:.1f} s, {tables_bytes(n, BITS) / 1e6:,.0f} MB"
            row = [ratio(peer, by_index), kind, f"{n:,}", by_index, f"{by_index.p95:.3g}", by_scan, peer, memory]
            yield row
            print(*map(str, row), flush=True)
            del index


def plot(points: dict[str, list[list[Timed]]]) -> None:
    figure, panes = plt.subplots(1, len(points), figsize=(10, 4), sharey=True)
    for pane, (kind, measured_) in zip(panes, points.items(), strict=True):
        for i, (name, mark) in enumerate((("ours, by index", "o-"), ("ours, by scan", "s--"), ("Faiss flat", "^:"))):
            pane.loglog(SIZES, [times[i].median for times in measured_], mark, label=name)
        pane.set_title(f"{kind} codes, {BITS} bits, k = {K}")
        pane.set_xlabel("codes")
        pane.grid(alpha=0.3)
    panes[0].set_ylabel("ms a query (median of 25)")
    panes[0].legend()
    figure.tight_layout()
    figure.savefig(HERE / PLOT, dpi=110)


def main() -> None:
    points: dict[str, list[list[Timed]]] = {}
    found = list(rows(points))
    plot(points)
    columns = [
        "Faiss flat / ours",
        "codes",
        "n",
        "ours by index ms",
        "p95",
        "ours by scan ms",
        "Faiss flat ms",
        "index",
    ]
    text = f"""{BITS} bits, k = {K}, {THREADS} threads, exact, in memory, medians of 25 queries. The index gives up by
itself where a scan is quicker; below a million codes a library builds none.

{table(columns, found)}

![Time per query against the number of codes]({PLOT})
"""
    write_section("8-search-growth", "Growth", "python benchmarks/search/growth.py", text)


if __name__ == "__main__":
    main()
