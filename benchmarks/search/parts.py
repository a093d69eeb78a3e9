"""What it costs to group neighbours that are parts to items: the number of widenings, and time beside an ungrouped scan.

Codes of the parts of a picture are made from one code of the picture, with an eighth of the bits flipped in each. So the
parts of a picture lie together, which is the hard case: many of the nearest rows are of one item. Queries are codes of
parts with a sixteenth of the bits flipped, and codes near no picture.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from hashgrain.engines.grouping import PartRows
from hashgrain.hamming import Neighbours, Run, nearest, rows_of
from hashgrain.store.spaces import PART_BITS
from made_codes import clustered, uniform
from report import machine, table, write_section

PARTS, BITS, RUNS = 30, 128, 15
AT_ONCE = 20_000  # items whose parts are made together
GRAINS = (32, 64, 128)
FIRST = (1, 4, 30)  # rows that are asked for at first, for each item wanted
Words = NDArray[np.uint64]


def flips(rng: np.random.Generator, shape: tuple[int, ...], halvings: int) -> Words:
    """Words with each bit set with a chance of 1 / 2**halvings."""
    found = rng.integers(0, 2**64, shape, np.uint64)
    for _ in range(halvings - 1):
        found &= rng.integers(0, 2**64, shape, np.uint64)
    return found


def parts_of(whole: Words) -> list[Run]:
    """Rows of 30 parts of each item, a million or so to a run."""
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


def rows(items: int, threads: int, ks: tuple[int, ...]) -> Iterator[list[object]]:
    whole = clustered(items, BITS, 1)
    parts, wholes = parts_of(whole), [rows_of(whole, np.arange(items, dtype=np.int64))]
    for kind in ("a part, changed", "near no picture"):
        queries = asked(whole, kind, RUNS)
        for bits in GRAINS:
            for k in ks:
                by_whole = [nearest(query[None], wholes, k, bits=bits, threads=threads) for query in queries]
                plain = timed(lambda i: nearest(queries[i : i + 1], parts, k, bits=bits, threads=threads))  # noqa: B023
                for first in FIRST:
                    grouping = PartRows(parts, first, (), threads)
                    answers: list[Neighbours] = []

                    def group(i: int) -> None:
                        answers.extend(
                            grouping.nearest(queries[i : i + 1], k, by_whole[i], bits=bits, weights=None)  # noqa: B023
                        )

                    grouped = timed(group)
                    widenings = [each.cost.parts.widenings for each in answers if each.cost.parts]
                    mean = f"{statistics.mean(widenings):.1f}"
                    yield [kind, bits, k, first, mean, max(widenings), f"{grouped:.1f}", f"{plain:.1f}"] + [
                        f"**{grouped / plain:.2f}x**"
                    ]


def timed(ask: object) -> float:
    """The median of milliseconds, one query at a time; the first one warms memory."""
    times = []
    for i in [0, *range(RUNS)]:
        begun = time.perf_counter()
        ask(i)  # type: ignore[operator]
        times.append(1000 * (time.perf_counter() - begun))
    return statistics.median(times[1:])


COLUMNS = [
    "query",
    "bits",
    "k",
    "rows an item asked for",
    "widenings, mean",
    "most",
    "grouped ms",
    "ungrouped ms",
    "ratio",
]

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("-k", type=int, nargs="+", default=[1, 10, 100, 1000])
    arguments = parser.parse_args()
    print(f"{arguments.items:,} items of {PARTS} parts, {arguments.threads} threads, on {machine()}")
    print(" | ".join(COLUMNS))
    for row in rows(arguments.items, arguments.threads, tuple(arguments.k)):
        print(*row, sep=" | ", flush=True)
