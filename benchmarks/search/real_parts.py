"""Asking for a piece among the parts of a million pictures: real codes of parts, with the index, beside Faiss.

The codes are those of a library of real pictures with parts, such as benchmarks/parts.py makes. A picture of the
million is one of these with some bits of its codes changed; all parts of a picture stay together. Asked is with parts
of pictures that the million does not hold, and with parts of it, changed once more.

python benchmarks/search/real_parts.py LIBRARY [--items N]
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hashgrain import Library
from hashgrain.codes import prefix_mask
from hashgrain.engines.grouping import PartRows
from hashgrain.hamming import Index, Run, build_lists, build_tables, nearest, rows_of
from hashgrain.store.spaces import PART_BITS
from parts import flips, timed
from report import machine, table, write_section
from rivals import Ask, faiss_flat, of_faiss

PARTS, K, THREADS, ASKED = 30, 10, 2, 40
HALVINGS = 4  # a bit is changed with a chance of 1 in 16
AT_ONCE = 20_000  # pictures whose rows are made together
Words = NDArray[np.uint64]


def real_parts(path: Path) -> tuple[Words, Words, dict[str, int]]:
    """(pictures, 30, words): codes of parts, spread over the windows; (pictures, words): codes of the whole."""
    with Library.open(path) as library, library.store.snapshot() as snapshot:
        ids = snapshot.with_parts().tolist()
        found = [each for start in range(0, len(ids), 1000) for each in snapshot.parts_of(ids[start : start + 1000])]
        windows = np.linspace(0, min(len(each.codes) for each in found) - 1, PARTS).round().astype(int)
        return np.stack([each.codes[windows] for each in found]), snapshot.codes(ids), dict(library.grains)


def grown(parts: Words, whole: Words, items: int) -> tuple[list[Run], list[Run]]:
    """Rows of the parts of so many pictures, and rows of their whole codes."""
    rng, runs, wholes = np.random.default_rng(4), [], []
    for low in range(0, items, AT_ONCE):
        some = rng.integers(0, len(parts), min(AT_ONCE, items - low))
        codes = parts[some] ^ flips(rng, (len(some), *parts.shape[1:]), HALVINGS)
        ids = np.arange(low, low + len(some), dtype=np.int64)
        numbered = ((ids << PART_BITS)[:, None] + np.arange(1, PARTS + 1)).ravel()
        runs.append(rows_of(codes.reshape(-1, codes.shape[2]), numbered, first_row=low * PARTS))
        wholes.append(rows_of(whole[some] ^ flips(rng, (len(some), whole.shape[1]), HALVINGS), ids, first_row=low))
    return runs, wholes


@dataclass
class Case:
    """Queries at a grain."""

    runs: list[Run]
    wholes: list[Run]
    queries: Words
    bits: int
    paths: set[str] = field(default_factory=set)

    def ask(self, indexes: list[Index], i: int) -> None:
        query = self.queries[i : i + 1]
        whole = nearest(query, self.wholes, K, bits=self.bits, threads=THREADS)
        part_rows = PartRows(self.runs, PARTS, indexes, THREADS)
        (answer,) = part_rows.nearest(query, K, whole, bits=self.bits, weights=None)
        if answer.cost.parts and indexes:
            self.paths.add(answer.cost.parts.path)


def rows(
    runs: list[Run], wholes: list[Run], queries: dict[str, Words], grains: dict[str, int]
) -> Iterator[list[object]]:
    count = sum(len(run.ids) for run in runs)
    short = [bits for bits in grains.values() if bits in (16, 32, 48, 64)]
    indexes: list[Index] = [build_tables(runs, 0, count, max(short))] if short else []
    indexes.append(build_lists(runs, 0, count, max(grains.values())))
    for grain, bits in grains.items():
        peer = faiss_of(runs, bits)
        for kind, asked in queries.items():
            case = Case(runs, wholes, asked, bits)
            by_index = timed(partial(case.ask, indexes), ASKED - 1)
            by_scan = timed(partial(case.ask, []), ASKED - 1)
            theirs = timed(partial(_ask_faiss, peer, cut(asked, bits)), 9)
            first = [f"**{theirs / by_index:.1f}x**", grain, bits, kind, f"{by_index:.1f}"]
            yield [*first, "/".join(sorted(case.paths)), f"{by_scan:.1f}", f"{theirs:.0f}"]


def _ask_faiss(peer: Ask, queries: Words, i: int) -> None:
    peer(queries[i : i + 1], K)


def cut(words: Words, bits: int) -> Words:
    """The first bits, in as many words as they take; the other bits of the last one are 0."""
    width = (bits + 63) // 64
    return np.ascontiguousarray(words[:, :width] & prefix_mask(bits, width))


def faiss_of(runs: list[Run], bits: int) -> Ask:
    words = np.concatenate([np.stack(run.planes[: (bits + 63) // 64], axis=1) for run in runs])
    return of_faiss(faiss_flat(cut(words, bits)), THREADS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("library", type=Path)
    parser.add_argument("--items", type=int, default=1_000_000)
    given = parser.parse_args()
    parts, whole, grains = real_parts(given.library)
    order = np.random.default_rng(1).permutation(len(parts))
    held, used = order[:ASKED], order[ASKED:]
    runs, wholes = grown(parts[used], whole[used], given.items)
    rng = np.random.default_rng(2)
    inside = np.stack([runs[i % len(runs)].planes[w][7] for i in range(ASKED) for w in range(parts.shape[2])])
    inside = inside.reshape(ASKED, -1).astype(np.uint64)
    queries = {
        "a part of a picture that is not there": parts[held, 7],
        "a part that is there, changed": inside ^ flips(rng, inside.shape, HALVINGS),
    }
    print(f"{given.items:,} pictures from {len(used):,} on {machine()}", flush=True)
    found = []
    for row in rows(runs, wholes, queries, grains):
        print(*row, sep=" | ", flush=True)
        found.append(row)
    text = f"""{given.items:,} pictures of {PARTS} parts, made from the codes of {len(used):,} real ones by changing
each bit with a chance of 1 in {2**HALVINGS}; the parts of a picture stay together. Asked for are the {K} nearest
pictures, by their whole or their nearest part, exactly: {THREADS} threads, medians of {ASKED - 1} queries. Faiss (flat,
the same codes cut to the bits of the grain) gives the {K} nearest rows, which are of fewer pictures; medians of 9.

{table(["Faiss / ours", "grain", "bits", "query", "with the index ms", "path", "by scan ms", "Faiss flat ms"], found)}
"""
    write_section(
        "9-search-real-parts",
        "Real parts of a million pictures",
        "python benchmarks/search/real_parts.py LIBRARY",
        text,
    )


if __name__ == "__main__":
    main()
