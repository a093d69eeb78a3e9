"""Engines on the same real codes: embedded, ClickHouse's engine, PostgreSQL, beside Faiss.

Each is filled from a log of changes, as a library fills it, then asked one query at a time, k = 10 at `look`. All have
to answer alike. Faiss gets the codes at once and answers with distances alone.

python benchmarks/search/engines.py [--sizes 1000000,10000000]
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hashgrain import Codes, Grains
from hashgrain.engines import EmbeddedEngine, Engine, connected
from hashgrain.hamming import build_lists, rows_of
from hashgrain.hamming.build import lists_bytes
from hashgrain.store import Change
from made_codes import real
from report import HERE, table, write_section
from rivals import faiss_flat, of_faiss

sys.path.insert(0, str(HERE.parent / "tests"))
from databases import postgresql

GRAINS = Grains(kind=32, thing=64, look=128)
QUERIES, WARM_UP, K = 20, 2, 10
Words = NDArray[np.uint64]


def changes(codes: Words) -> Iterator[Change]:
    return (Change(n, "added", n, code) for n, code in enumerate(codes, 1))


def asked(engine: Engine, queries: Sequence[Codes]) -> tuple[list[list[int]], float]:
    """The ids found for each query, and the median of milliseconds."""
    found, times = [], []
    for query in [*queries[:WARM_UP], *queries]:
        begun = time.perf_counter()
        assert engine.sequence
        (near,) = engine.nearest(query, K, grain="look")
        times.append(1000 * (time.perf_counter() - begun))
        found.append(near.ids.tolist())
    return found[WARM_UP:], statistics.median(times[WARM_UP:])


def in_database(address: str, codes: Words) -> tuple[Engine, float]:
    engine = connected(address, GRAINS)
    engine.library = "benchmark"
    begun = time.perf_counter()
    engine.apply(changes(codes))
    return engine, time.perf_counter() - begun


def size_of(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def rows(codes: Words, queries: list[Codes]) -> Iterator[list[str]]:
    n = len(codes)
    segment = rows_of(codes, np.arange(1, n + 1))
    expected, scanned = asked(EmbeddedEngine([segment], GRAINS, sequence=n), queries)
    yield [f"{n:,}", "embedded, scan", f"**{scanned:.1f}**", "1x", f"{n / scanned / 1000:,.0f}", "-", "24"]

    def row(name: str, found: list[list[int]], each: float, filled: float | None, held: float) -> list[str]:
        if found and found != expected:
            raise SystemExit(f"{name} answers otherwise")
        a_second = "-" if filled is None else f"{n / filled:,.0f}"
        speed = [f"**{each:.1f}**", f"{each / scanned:.1f}x", f"{n / each / 1000:,.0f}"]
        return [f"{n:,}", name, *speed, a_second, f"{held / n:.0f}"]

    begun = time.perf_counter()
    lists = build_lists([segment], 0, n, 128)
    built = time.perf_counter() - begun
    engine = EmbeddedEngine([segment], GRAINS, [lists], sequence=n)
    yield row("embedded, index", *asked(engine, queries), built, 24 * n + lists_bytes(n, 128))
    yield row("Faiss, flat", [], faiss_time(codes, queries), None, 16 * n)
    home = Path(tempfile.mkdtemp(prefix="engines-"))
    try:
        engine, filled = in_database(f"chdb://{home}/clickhouse", codes)
        found, each = asked(engine, queries)
        engine.close()
        yield row("ClickHouse, in this process", found, each, filled, size_of(home / "clickhouse" / "store"))
    finally:
        shutil.rmtree(home)
    with postgresql() as server:
        engine, filled = in_database(server.address("benchmark"), codes)
        found, each = asked(engine, queries)
        ((held,),) = engine.dialect.ask("SELECT pg_total_relation_size('benchmark.codes')", [])  # type: ignore[attr-defined]
        engine.close()
        yield row("PostgreSQL 15", found, each, filled, float(held))


def faiss_time(codes: Words, queries: Sequence[Codes]) -> float:
    ask = of_faiss(faiss_flat(codes), len(os.sched_getaffinity(0)))
    times = []
    for query in [*queries[:WARM_UP], *queries]:
        begun = time.perf_counter()
        ask(query.words, K)
        times.append(1000 * (time.perf_counter() - begun))
    return statistics.median(times[WARM_UP:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", default="1000000,10000000")
    given = parser.parse_args()
    found = []
    for size in map(int, given.sizes.split(",")):
        codes, queries = real(size, 128, QUERIES)
        for each in rows(codes, [Codes(words[None], GRAINS) for words in queries]):
            print(*each, sep=" | ", flush=True)
            found.append(each)
    columns = ["codes", "engine", "ms a query", "of the scan", "million codes a second"]
    text = f"""Codes of 128 bits made from real ones, without parts; {QUERIES} queries, one at a time, k = {K} at
`look`, medians; ties included, every engine finds the same items. PostgreSQL runs with the settings it comes with,
without flushing to disk. "Filled" is by the log of changes of a library, 5,000 in a transaction; for the index, what
building it takes. Bytes are those of codes and ids in memory, for databases on disk right after filling.

{table([*columns, "filled, codes a second", "bytes a code"], found)}
"""
    command = " ".join(["python benchmarks/search/engines.py", *sys.argv[1:]])
    write_section("9-search-engines", "Engines on the same codes", command, text)


if __name__ == "__main__":
    main()
