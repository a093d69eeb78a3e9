"""Our kernels instruction set by instruction set, and the same scan written for numba where numba is installed.

numba is no dependency of ours: `pip install numba` before running this gives the comparison that decided against it.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import numpy as np

from hashgrain.hamming import kinds, native, rows_of
from hashgrain.hamming.question import ask_nearest
from made_codes import uniform
from report import table, write_section
from rivals import Ask, Words, timed

N, K, BATCH, BLOCK = 1 << 20, 10, 64, 128
FIRST_CALL = """
import sys, time
sys.path.insert(0, {here!r})
import numpy as np
begun = time.perf_counter()
from kernels import numba_scan
numba_scan(1)(np.zeros((1000, 1), np.uint64).T.copy(), np.zeros((1, 1), np.uint64), 10)
print(time.perf_counter() - begun)
"""


def of_kind(words: Words, kind: str) -> Ask:
    parts, bits = [rows_of(words)], 64 * words.shape[1]

    def ask(queries: Words, k: int) -> np.ndarray:
        found = native.scan(ask_nearest(queries, parts, k, bits, None), parts, kind)
        return np.stack([each.distances for each in found])

    return ask


def numba_scan(n_words: int) -> Callable[[np.ndarray, np.ndarray, int], np.ndarray]:
    """A scan by blocks with a threshold test, as ours is: what LLVM makes of plain loops. Whole blocks only."""
    import numba
    from numba.extending import intrinsic

    @intrinsic
    def popcount(context, word):  # type: ignore[no-untyped-def]
        return word(word), lambda _, builder, __, args: builder.ctpop(args[0])

    two, four = n_words > 1, n_words > 2  # known when it is compiled: what is not needed is left out

    @numba.njit(inline="always")
    def distance(p0, p1, p2, p3, i, query):  # type: ignore[no-untyped-def]
        bits = np.int64(popcount(p0[i] ^ query[0]))
        if two:
            bits += np.int64(popcount(p1[i] ^ query[1]))
        if four:
            bits += np.int64(popcount(p2[i] ^ query[2])) + np.int64(popcount(p3[i] ^ query[3]))
        return bits

    @numba.njit(nogil=True, fastmath=True, error_model="numpy")
    def scan(planes, queries, k):  # type: ignore[no-untyped-def]
        answers = np.empty((len(queries), k), np.int64)
        last = len(planes) - 1
        for q in range(len(queries)):
            query, best = queries[q], np.full(k, 1 << 30, np.int64)
            for start in range(0, planes.shape[1] - BLOCK + 1, BLOCK):
                p0 = planes[0][start : start + BLOCK]
                p1 = planes[min(1, last)][start : start + BLOCK]
                p2 = planes[min(2, last)][start : start + BLOCK]
                p3 = planes[last][start : start + BLOCK]
                limit, near = best[k - 1], np.int64(0)
                for i in range(BLOCK):  # negative where one row is near enough: this is the loop that must be fast
                    near |= distance(p0, p1, p2, p3, i, query) - limit
                if near >= 0:
                    continue
                for i in range(BLOCK):
                    bits = distance(p0, p1, p2, p3, i, query)
                    j = k - 1
                    if bits < best[j]:
                        while j > 0 and best[j - 1] > bits:
                            best[j] = best[j - 1]
                            j -= 1
                        best[j] = bits
            answers[q] = best
        return answers

    return scan  # type: ignore[no-any-return]


def rows() -> Iterator[list[object]]:
    with_numba = importlib.util.find_spec("numba") is not None
    for bits in (64, 128, 256):
        words, queries = uniform(N, bits, 1), uniform(256, bits, 2)
        asks = {kind: of_kind(words, kind) for kind in kinds()}
        if with_numba:
            compiled, planes = numba_scan(bits // 64), np.ascontiguousarray(words.T)
            asks["numba"] = lambda q, k, c=compiled, p=planes: c(p, q, k)  # type: ignore[misc]
        for name, ask in asks.items():
            row = [bits, name, timed(ask, queries, K), timed(ask, queries, K, BATCH, 5)]
            yield row
            print(*map(str, row), flush=True)


def first_call() -> str:
    if importlib.util.find_spec("numba") is None:
        return "numba is not installed here."
    code = FIRST_CALL.format(here=str(__import__("pathlib").Path(__file__).parent))
    begun = time.perf_counter()
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    whole = time.perf_counter() - begun
    return (
        f"A first call of the numba scan in a fresh process took {float(out):.1f} s ({whole:.1f} s with Python itself)."
    )


def main() -> None:
    found = list(rows())
    text = f"""{N:,} uniform codes, k = {K}, one thread, in memory; medians of 25 single queries and of 5
calls with {BATCH}.

{table(["bits", "kernel", "one query ms", f"{BATCH} queries ms"], found)}

{first_call()}
"""
    write_section("6-search-kernels", "Kernels", "python benchmarks/search/kernels.py", text)


if __name__ == "__main__":
    main()
