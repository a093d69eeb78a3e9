"""What grouping neighbours that are parts to items costs: how often more rows are asked for, and the time it takes.

Codes of the parts of a picture are made from one code of the picture, with an eighth of the bits flipped in each, so
that the parts of a picture lie together. That is the hard case: many of the nearest rows are of one item. Pictures lie
around 1,000 centers. Queries are codes of parts with a sixteenth of their bits flipped, and codes near no picture.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from hashgrain.engines.grouping import PartRows
from hashgrain.hamming import Index, Neighbours, Run, build_lists, build_tables, nearest, rows_of
from hashgrain.store.spaces import PART_BITS
from made_codes import clustered, uniform
from report import machine, table, write_section

PARTS, BITS, RUNS, MANY = 30, 128, 15, 64
AT_ONCE = 20_000  # items whose parts are made together
GRAINS = (32, 64, 128)
FIRST = {"k": 1, "4 k": 4, "30 k": PARTS}  # rows that are asked for at first; the engine asks for 4 k
Words = NDArray[np.uint64]


def flips(rng: np.random.Generator, shape: tuple[int, ...], halvings: int) -> Words:
    """Words with each bit set with a chance of 1 / 2**halvings."""
    found = rng.integers(0, 2**64, shape, np.uint64)
    for _ in range(halvings - 1):
        found &= rng.integers(0, 2**64, shape, np.uint64)
    return found


def parts_of(whole: Words) -> list[Run]:
    """Rows of the parts of each item, over half a million to a run."""
    rng, runs = np.random.default_rng(4), []
    for low in range(0, len(whole), AT_ONCE):
        some = whole[low : low + AT_ONCE]
        codes = some[:, None] ^ flips(rng, (len(some), PARTS, BITS // 64), 3)
        items = np.arange(low, low + len(some), dtype=np.int64) << PART_BITS
        ids = (items[:, None] + np.arange(1, PARTS + 1)).ravel()
        runs.append(rows_of(codes.reshape(-1, BITS // 64), ids, first_row=low * PARTS))
    return runs


def asked(whole: Words, kind: str, n: int) -> Words:
    rng = np.random.default_rng(6)
    if kind == "near no picture":
        return uniform(n, BITS, 8)
    some = whole[rng.integers(0, len(whole), n)]
    return some ^ flips(rng, some.shape, 3) ^ flips(rng, some.shape, 4)


def timed(ask: Callable[[int], object], runs: int = RUNS) -> float:
    """The median of milliseconds; the first one warms memory."""
    times = []
    for i in [0, *range(runs)]:
        begun = time.perf_counter()
        ask(i)
        times.append(1000 * (time.perf_counter() - begun))
    return statistics.median(times[1:])


class Case:
    """Queries at a grain: grouped, and the same rows without grouping."""

    def __init__(self, parts: Sequence[Run], indexes: Sequence[Index], threads: int, queries: Words, bits: int, k: int):
        self.parts, self.indexes, self.threads = parts, indexes, threads
        self.queries, self.bits, self.k = queries, bits, k
        self.answers: list[Neighbours] = []

    def plain(self, some: slice) -> None:
        options = {"bits": self.bits, "indexes": self.indexes, "threads": self.threads}
        nearest(self.queries[some], self.parts, self.k, **options)  # type: ignore[arg-type]

    def grouped(self, some: slice, whole: Sequence[Neighbours], first: str) -> None:
        rows = PartRows(self.parts, PARTS, self.indexes, self.threads)
        object.__setattr__(rows, "_first", lambda k: FIRST[first] * k)
        self.answers += rows.nearest(self.queries[some], self.k, whole[some], bits=self.bits, weights=None)

    def row(self, wholes: Sequence[Run], first: str) -> list[object]:
        whole = nearest(self.queries, wholes, self.k, bits=self.bits, threads=self.threads)
        plain = timed(lambda i: self.plain(slice(i, i + 1)))
        self.answers.clear()
        grouped = timed(lambda i: self.grouped(slice(i, i + 1), whole, first))
        costs = [answer.cost.parts for answer in self.answers if answer.cost.parts]
        widenings = [cost.widenings for cost in costs]
        many = timed(lambda i: self.grouped(slice(None), whole, first), 3) / len(self.queries)
        many_plain = timed(lambda i: self.plain(slice(None)), 3) / len(self.queries)
        return [
            f"{statistics.mean(widenings):.1f}",
            max(widenings),
            "/".join(sorted({cost.path for cost in costs})),
            f"{grouped:.1f}",
            f"{plain:.1f}",
            f"**{grouped / plain:.2f}x**",
            f"{many:.1f}",
            f"{many_plain:.1f}",
        ]


COLUMNS = ["query", "bits", "k", "first asked for", "widenings, mean", "most", "path", "grouped ms", "ungrouped ms"]
COLUMNS += ["ratio", f"of {MANY} at once, ms each", "ungrouped ms each"]


def rows(items: int, threads: int, ks: Sequence[int], indexed: bool) -> Iterator[list[object]]:
    whole = clustered(items, BITS, 1)
    parts, wholes = parts_of(whole), [rows_of(whole, np.arange(items, dtype=np.int64))]
    indexes: list[Index] = []
    if indexed:
        indexes += [build_tables(parts, 0, items * PARTS, 64), build_lists(parts, 0, items * PARTS, BITS)]
    for kind in ("a part, changed", "near no picture"):
        queries = asked(whole, kind, MANY)
        for bits in GRAINS:
            for k in ks:
                for first in FIRST:
                    yield [kind, bits, k, first, *Case(parts, indexes, threads, queries, bits, k).row(wholes, first)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("-k", type=int, nargs="+", default=[10, 100, 1000])
    parser.add_argument("--indexed", action="store_true", help="with an index of each kind")
    parser.add_argument("--write", action="store_true", help="write benchmarks/results/9-search-parts.md")
    given = parser.parse_args()
    print(f"{given.items:,} items of {PARTS} parts, {given.threads} threads, on {machine()}")
    print(*COLUMNS, sep=" | ")
    found = []
    for row in rows(given.items, given.threads, given.k, given.indexed):
        print(*row, sep=" | ", flush=True)
        found.append(row)
    if given.write:
        write_section(
            "9-search-parts", "Parts grouped to items", "python benchmarks/search/parts.py --write", about(given, found)
        )


def about(given: argparse.Namespace, found: list[list[object]]) -> str:
    rows = given.items * PARTS
    return f"""{given.items:,} items of {PARTS} parts, so {rows:,} codes of {BITS} bits, {given.threads} threads. The
codes of the parts of an item differ from a code of the item in an eighth of their bits. Asked for are the k nearest
items, by the nearest of their parts, where the k nearest whole codes are known; "ungrouped" are the k nearest rows.
More rows are asked for until the k items are sure: a widening. Medians of {RUNS}.

{table(COLUMNS, found)}
"""


if __name__ == "__main__":
    main()
