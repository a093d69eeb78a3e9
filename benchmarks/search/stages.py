"""Coarse to fine on ten million real codes: what shortlists cost and find, beside the exact answer.

The length of a shortlist comes from a recall that is asked for, measured by the library on a sample of its own items.
Queries are pictures that the library does not hold, and, for the recall alone, items of it that chose nothing.

python benchmarks/search/stages.py [--items N] [--keep FOLDER]
With --keep, the library is kept in this folder for the next run.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from hashgrain import Codes, Library
from made_codes import real
from report import machine, table, write_section
from warm import build

QUERIES, WARM_UP, K = 50, 3, 10
RECALLS = (0.9, 0.95, 0.99)


def answers(
    library: Library, queries: Sequence[Codes | int], grain: str, n: int | None
) -> tuple[list[list[int]], float]:
    """The ids found for each query, and the median of milliseconds."""
    found, times = [], []
    for query in [*queries[:WARM_UP], *queries]:
        begun = time.perf_counter()
        hits = library.search(query, k=K, stages=None if n is None else [(grain, n)])
        times.append(1000 * (time.perf_counter() - begun))
        found.append([hit.id for hit in hits])
    return found[WARM_UP:], statistics.median(times[WARM_UP:])


def recall_of(found: list[list[int]], exact: list[list[int]]) -> float:
    pairs = zip(found, exact, strict=True)
    return statistics.mean(len(set(some) & set(every)) / K for some, every in pairs)


def rows(library: Library, queries: list[Codes]) -> Iterator[list[object]]:
    exact, whole = answers(library, queries, "", None)
    ids = np.random.default_rng(9).integers(1, len(library) + 1, QUERIES).tolist()
    exact_of_items, _ = answers(library, ids, "", None)
    yield ["exact", "", "", "", "1.000", "1.000", f"{whole:.1f}", "1.00x"]
    for grain in ("kind", "thing"):
        for recall in RECALLS:
            begun = time.perf_counter()
            explained = library.explain(queries[0], k=K, stages=[(grain, recall)])
            sizing = time.perf_counter() - begun
            (shortlist,) = explained.shortlists
            found, each = answers(library, queries, grain, shortlist.asked)
            kept = [
                library.explain(query, k=K, stages=[(grain, shortlist.asked)]).shortlists[0].kept for query in queries
            ]
            found_of_items, _ = answers(library, ids, grain, shortlist.asked)
            lengths = [f"{shortlist.asked:,}", f"{statistics.median(kept):,.0f}"]
            yield [
                grain,
                f"{recall:g}",
                *lengths,
                f"**{recall_of(found, exact):.3f}**",
                f"{recall_of(found_of_items, exact_of_items):.3f}",
                f"{each:.1f}",
                f"{each / whole:.2f}x",
                f"{sizing:.1f}",
            ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=10_000_000)
    parser.add_argument("--keep", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = (given.keep or Path(folder)) / f"{given.items}.hg"
        if not path.exists():
            print(f"made in {build(path, given.items):.0f} s, on {machine()}", flush=True)
        _, asked = real(given.items, 128, QUERIES)
        with Library.open(path) as library:
            found = []
            for row in rows(library, [Codes(words[None], library.grains) for words in asked]):
                print(*row, sep=" | ", flush=True)
                found.append([*row, ""][:9])
    columns = ["shortlist at", "recall asked for", "length", "kept, with ties", f"recall of the {K} nearest"]
    columns.append("of items")
    text = f"""A library of {given.items:,} items with codes of 128 bits made from real ones, with its indexes;
{QUERIES} queries, k = {K} at `look`, medians. "Sizing" is what the library takes to measure a length for a recall on a
sample of its items; the time of a search is with the length given. The recall that was asked for is meant for queries
like the items ("of items", of as few as the others); pictures that are not in the library have farther neighbors.

{table([*columns, "ms", "of exact", "sizing s"], found)}
"""
    write_section("9-search-stages", "Coarse to fine", "python benchmarks/search/stages.py", text)


if __name__ == "__main__":
    main()
