"""Harmonic sums and hypergeometric probabilities for the closed forms, vectorized."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.int64]
Floats = NDArray[np.float64]
TABLE = 1 << 21  # numbers up to this come from a table of 16 MB
CELLS_AT_ONCE = 1 << 21
FAR = 12.0  # standard deviations, plus 2 items at either end; the rest is rarer than 1e-9


@lru_cache(maxsize=1)
def _harmonics() -> Floats:
    return np.concatenate([[0.0], np.cumsum(1 / np.arange(1, TABLE + 1))])


@lru_cache(maxsize=1)
def _log_factorials() -> Floats:
    return np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, TABLE + 1)))])


def harmonic(n: Counts) -> Floats:
    """1 + 1/2 + ... + 1/n."""
    sums = _harmonics()[np.minimum(n, TABLE)]
    large = n > TABLE
    if large.any():
        many = n[large].astype(np.float64)
        sums[large] = np.log(many) + np.euler_gamma + 1 / (2 * many) - 1 / (12 * many * many)
    return np.asarray(sums)


def log_factorial(n: Counts) -> Floats:
    logs = _log_factorials()[np.minimum(n, TABLE)]
    large = n > TABLE
    if large.any():  # Stirling's series: exact to the last digit for such numbers
        many = n[large].astype(np.float64)
        logs[large] = many * np.log(many) - many + 0.5 * np.log(2 * np.pi * many) + 1 / (12 * many)
    return np.asarray(logs)


def log_choose(n: Counts, k: Counts) -> Floats:
    return log_factorial(n) - log_factorial(k) - log_factorial(n - k)


def draws(n: Counts, good: Counts, drawn: Counts, *, likely: bool) -> Iterator[tuple[Counts, Counts, Floats]]:
    """The hypergeometric distribution of good items among those drawn from n, case by case: (case, count, probability).

    Cases come in chunks, flattened. `likely` leaves out negligible counts; the probabilities of a case add up to 1.
    """
    least, most = np.maximum(0, drawn - (n - good)), np.minimum(good, drawn)
    if likely:
        share = good / np.maximum(1, n)
        spread = FAR * np.sqrt(drawn * share * (1 - share)) + 2
        least = np.maximum(least, np.floor(drawn * share - spread).astype(np.int64))
        most = np.minimum(most, np.ceil(drawn * share + spread).astype(np.int64))
    sizes = most - least + 1
    ends = np.cumsum(sizes)
    start = 0
    while start < len(n):
        done = ends[start - 1] if start else 0
        end = max(start + 1, int(np.searchsorted(ends, done + CELLS_AT_ONCE, "right")))
        case = np.repeat(np.arange(start, end), sizes[start:end])
        first = np.repeat(ends[start:end] - sizes[start:end], sizes[start:end])
        x = least[case] + np.arange(done, ends[end - 1]) - first
        logs = log_choose(good[case], x) + log_choose((n - good)[case], drawn[case] - x) - log_choose(n, drawn)[case]
        probabilities = np.exp(logs)
        totals = np.bincount(case - start, probabilities, minlength=end - start)
        yield case, x, probabilities / totals[case - start]
        start = end
