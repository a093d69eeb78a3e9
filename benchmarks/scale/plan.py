"""What libraries of a million to ten billion pictures take: from constants measured here, and a simulation of shards.

What encoding takes is read from results/9b-details.md. Machines of a cluster, their prices and failures are
assumptions, which are named in the text.

python benchmarks/scale/plan.py
"""

from __future__ import annotations

import heapq
import math
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parent.parent))

from hashgrain import Library
from hashgrain.hamming import nearest, rows_of
from hashgrain.store import New, Parts
from report import HERE, table, write_section

WORDS, ROW_BYTES = 4, 40  # of a code of 256 bits; with the id of its row
SIZES = (10**6, 10**7, 10**8, 10**9, 10**10)
PARTS = {"no parts": 0, "low": 29, "normal": 65}
ITEMS = 4_000  # of the libraries whose files are measured
ROWS = 4_000_000  # that are scanned for a rate, a quarter of them for latencies
ASKED = 600
CORES, MEMORY_GB, BANDWIDTH_GB, PRICE = 64, 192, 200, 3.5  # of a machine: memory for codes, read a second, $ an hour
TARGET_MS = 100
FAILURES, REPLACED_H, LOAD_GB = 4, 0.2, 1.0  # of a machine a year; hours until another is there; loaded a second
YEARS = 30  # that are simulated
Words = NDArray[np.uint64]


def encoding_ms() -> dict[str, float]:
    text = (HERE / "results" / "9b-details.md").read_text()
    return {name: float(found[1]) for name in PARTS if (found := re.search(rf"\| {name} \| ([\d.]+) \|", text))}


def bytes_on_disk(parts: int) -> float:
    """Of an item, catalogue and segments."""
    rng = np.random.default_rng(1)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.hg"
        with Library.create(path, "photo", workers=0) as library:
            for start in range(0, ITEMS, 500):
                library.store.commit([_made(n, parts, rng) for n in range(start, start + 500)])
        files = [path / "catalogue.sqlite", *(path / "segments").iterdir()]
        return sum(file.stat().st_size for file in files) / ITEMS


def _made(n: int, parts: int, rng: np.random.Generator) -> New:
    words = rng.integers(0, 2**63, (1 + parts, WORDS), np.uint64)
    content, path = f"{n:064x}", f"/photographs/2026/{n:09}.jpg"
    return New(path, content, (n, n), 4000, 3000, "jpeg", None, words[0], parts=Parts(words[1:]) if parts else None)


def scanning() -> tuple[float, NDArray[np.float64]]:
    """Bytes of codes that one core scans in a second, and the latencies of one query of a shard, in its median."""
    words = np.random.default_rng(2).integers(0, 2**63, (ROWS, WORDS), np.uint64)
    large, small = [rows_of(words)], [rows_of(words[: ROWS // 4])]
    times = [_seconds(large, words[n], 1) for n in range(12)]
    latencies = np.array([_seconds(small, words[n], 1) for n in range(ASKED + 20)][20:])
    return ROWS * 8 * WORDS / statistics.median(times), latencies / np.median(latencies)


def _seconds(rows: list[object], query: Words, threads: int) -> float:
    begun = time.perf_counter()
    nearest(query[None], rows, 10, bits=64 * WORDS, threads=threads)  # type: ignore[arg-type]
    return time.perf_counter() - begun


def on_one_machine(ms: dict[str, float], disk: dict[str, float], rate: float) -> Iterator[list[str]]:
    for n in SIZES[:3]:
        for name, parts in PARTS.items():
            codes = n * (1 + parts)
            days = n * ms[name] / 1000 / 86400
            scan = 1000 * codes * 8 * WORDS / (2 * rate)
            yield [f"{n:,}", name, _gb(codes * ROW_BYTES), _gb(n * disk[name]), f"{days:,.1f}", f"{scan:,.0f}"]


def machines_for(n: int, parts: int, rate: float) -> tuple[int, int]:
    """By memory, and by time: a query reads all codes in 100 ms."""
    held, read = n * (1 + parts) * ROW_BYTES, n * (1 + parts) * 8 * WORDS
    each = min(CORES * rate, BANDWIDTH_GB * 1e9)
    return math.ceil(held / (MEMORY_GB * 1e9)), math.ceil(read / each / (TARGET_MS / 1000))


def on_many(ms: dict[str, float], rate: float) -> Iterator[list[str]]:
    for n in SIZES[2:]:
        for name, parts in PARTS.items():
            by_memory, by_time = machines_for(n, parts, rate)
            machines = max(by_memory, by_time)
            encoding_h = n * ms[name] / 1000 / 3600 / (CORES / 2)
            moved = n * (1 + parts) * ROW_BYTES / (machines + 1)
            cells = [f"{by_memory:,}", f"{by_time:,}", f"{machines * PRICE:,.0f}", f"{moved / LOAD_GB / 6e10:,.1f}"]
            yield [f"{n:,}", name, *cells, f"{encoding_h:,.0f}", f"{encoding_h * PRICE:,.0f}"]


def slowest(latencies: NDArray[np.float64], shards: int, rng: np.random.Generator) -> list[str]:
    """The slowest of so many shards, and with a copy that is asked once a shard is later than 95 in 100."""
    late = np.quantile(latencies, 0.95)
    first, second = rng.choice(latencies, (2, 4_000, shards))
    plain = first.max(axis=1)
    copied = np.where(first > late, np.minimum(first, late + second), first).max(axis=1)
    cells = [f"{np.quantile(times, share):.2f}" for times in (plain, copied) for share in (0.5, 0.99)]
    return [f"{shards:,}", *cells]


def hours_missing(shards: int, copies: int, load_h: float, rng: np.random.Generator) -> float:
    """Hours a year in which some shard has no copy that answers."""
    hours = YEARS * 8766
    missing: list[tuple[float, float]] = []
    for _ in range(shards):
        down = [_downs(hours, load_h, rng) for _ in range(copies)]
        missing += _all_down(down)
    covered, last = 0.0, 0.0
    for begin, end in sorted(missing):
        covered += max(0.0, end - max(begin, last))
        last = max(last, end)
    return covered / YEARS


def _downs(hours: float, load_h: float, rng: np.random.Generator) -> list[tuple[float, float]]:
    begins = np.sort(rng.uniform(0, hours, rng.poisson(FAILURES * YEARS)))
    return [(begin, begin + REPLACED_H + load_h) for begin in begins.tolist()]


def _all_down(down: list[list[tuple[float, float]]]) -> list[tuple[float, float]]:
    """When all of some machines are down at once."""
    events = heapq.merge(
        *([event for begin, end in one for event in ((begin, 1), (end, -1))] for one in map(sorted, down))
    )
    found, now, since = [], 0, 0.0
    for at, change in sorted(events):
        if now == len(down) and change < 0:
            found.append((since, at))
        now += change
        if now == len(down) and change > 0:
            since = at
    return found


def _gb(size: float) -> str:
    return f"{size / 1e9:,.2f}" if size < 1e10 else f"{size / 1e9:,.0f}"


def main() -> None:
    ms, disk = encoding_ms(), {name: bytes_on_disk(parts) for name, parts in PARTS.items()}
    rate, latencies = scanning()
    rng = np.random.default_rng(3)
    load_h = MEMORY_GB / LOAD_GB / 3600
    one = table(
        ["pictures", "detail", "codes in memory GB", "on disk GB", "encoding, days", "a query by scan ms"],
        list(on_one_machine(ms, disk, rate)),
    )
    many = table(
        [
            *("pictures", "detail", "machines by memory", f"by {TARGET_MS} ms", "$ an hour"),
            *("one more machine, minutes", "encoding, machine hours", "$"),
        ],
        list(on_many(ms, rate)),
    )
    slow = table(
        ["shards", "median", "99 of 100", "with copies, median", "99 of 100"],
        [slowest(latencies, shards, rng) for shards in (1, 10, 100, 1000)],
    )
    missing = table(
        ["shards", *(f"{copies} copies" if copies > 1 else "no copies" for copies in (1, 2, 3))],
        [
            [f"{shards:,}", *(f"{hours_missing(shards, copies, load_h, rng):,.2f}" for copies in (1, 2, 3))]
            for shards in (10, 100, 1000)
        ],
    )
    sizes = ", ".join(f"{name} {size:,.0f}" for name, size in disk.items())
    text = f"""Codes of `photo`: 256 bits, and {ROW_BYTES} bytes a row with its id. Measured here: bytes on disk of an
item ({sizes}), {rate / 1e9:.1f} GB of codes that one core scans in a second, and what encoding takes (from "What parts
cost").

On this machine, two cores:

{one}

On machines of {CORES} such cores with {MEMORY_GB} GB for codes, {BANDWIDTH_GB} GB read in a second, at {PRICE} $ an
hour, which are assumptions. A query compares all codes within {TARGET_MS} ms. One more machine takes its share of the
codes at {LOAD_GB:g} GB a second.

{many}

The slowest of some shards, by the latencies of {ASKED} queries of one core, in their median. "With copies": a second
copy is asked once a shard is later than 95 in 100, and the first answer counts.

{slow}

Hours a year in which some shard has no copy that answers. A machine fails {FAILURES} times a year (an assumption);
after {60 * REPLACED_H:.0f} minutes another is there and loads {MEMORY_GB} GB. {YEARS} years, simulated.

{missing}
"""
    write_section("j-scale", "What sizes take", "python benchmarks/scale/plan.py", text)


if __name__ == "__main__":
    main()
