"""Questions for the search tests: sizes, widths, ties, dead rows and splits of every kind, and a slow oracle."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from hashgrain.hamming import Neighbours, Run, rows_of

Answer = list[tuple[int, int, int]]


@dataclass
class Asked:
    """Queries, rows and which of them are alive."""

    queries: NDArray[np.uint64]
    words: NDArray[np.uint64]
    ids: NDArray[np.int64]
    alive: NDArray[np.bool_] | None
    bits: int
    cuts: list[int]

    def parts(self) -> list[Run]:
        """The rows in as many parts as there are cuts."""
        edges = [0, *sorted(min(cut, len(self.ids)) for cut in self.cuts), len(self.ids)]
        return [
            rows_of(self.words[a:b], self.ids[a:b], None if self.alive is None else self.alive[a:b], first_row=a)
            for a, b in pairwise(edges)
        ]

    def oracle(self, query: int, bits: int | None = None) -> Answer:
        """Every row that is alive, in order, by counting bits of whole Python numbers."""
        asked, prefix = number(self.queries[query]), (1 << (bits or self.bits)) - 1
        alive = np.ones(len(self.ids), bool) if self.alive is None else self.alive
        rows = zip(self.ids[alive].tolist(), self.words[alive], strict=True)
        found = [(i, number(row) ^ asked) for i, row in rows]
        hits = [(i, (d & prefix).bit_count(), d.bit_count()) for i, d in found]
        return sorted(hits, key=lambda hit: (hit[1], hit[2], hit[0]))


def number(row: NDArray[np.uint64]) -> int:
    return sum(int(word) << (64 * i) for i, word in enumerate(row))


def listed(found: Neighbours) -> Answer:
    return list(zip(found.ids.tolist(), found.distances.tolist(), found.full.tolist(), strict=True))


@st.composite
def questions(draw: st.DrawFn, widths: tuple[int, ...] = (1, 2, 3, 4, 5, 8, 16), bits: int | None = None) -> Asked:
    """Few distinct codes, so that ties abound; ids in any order or growing; some rows dead."""
    n_words = draw(st.sampled_from(widths))
    n = draw(st.one_of(st.integers(0, 300), st.sampled_from([63, 64, 65, 128])))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    pool = rng.integers(0, 2**64, (draw(st.integers(1, 12)), n_words), np.uint64)
    flips = np.uint64(1) << rng.integers(0, 64, (n, n_words), np.uint64)
    words = pool[rng.integers(0, len(pool), n)] ^ np.where(rng.random((n, n_words)) < 0.3, flips, np.uint64(0))
    ids = rng.permutation(10 * n + 1)[:n].astype(np.int64)
    near = pool[rng.integers(0, len(pool), draw(st.integers(1, 4)))]
    far = rng.integers(0, 2**64, (draw(st.integers(0, 2)), n_words), np.uint64)
    return Asked(
        queries=np.concatenate([near, far]),
        words=words,
        ids=np.sort(ids) if draw(st.booleans()) else ids,
        alive=rng.random(n) < draw(st.sampled_from([0.0, 0.05, 0.7])) if draw(st.booleans()) else None,
        bits=bits or draw(st.integers(1, 64 * n_words)),
        cuts=draw(st.lists(st.integers(0, 300), max_size=3)),
    )
