"""Retrieval figures as a text book has them: one order of a list in, one figure out, by plain loops.

An order is the grades of the whole database, from near to far; what has a grade above 0 is relevant. A ranking with
ties is a list of ties, each a list of grades in no order; `orders` has every order of it, `drawn` some at random.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from math import comb, log2

import numpy as np

from hashgrain.evaluate import Tally

Order = Sequence[int]
Ranking = Sequence[Sequence[int]]


def average_precision(order: Order, k: int | None, convention: str = "hash") -> float:
    """The sum of the precisions at the relevant ranks up to k, divided as the convention has it."""
    first = order if k is None else order[:k]
    found, total = 0, 0.0
    for rank, grade in enumerate(first, start=1):
        if grade > 0:
            found += 1
            total += found / rank
    everything = sum(1 for grade in order if grade > 0)
    if convention in ("hash", "hash-skip"):
        divisor = found
    elif convention == "ir":
        divisor = everything
    elif convention == "min":
        divisor = everything if k is None else min(k, everything)
    else:
        raise AssertionError(convention)
    return total / divisor if divisor else 0.0


def found(order: Order, k: int | None) -> bool:
    """Whether a query counts in the mean of `hash-skip`."""
    return any(grade > 0 for grade in (order if k is None else order[:k]))


def hit(order: Order, k: int | None) -> float:
    return 1.0 if found(order, k) else 0.0


def precision(order: Order, k: int | None) -> float:
    first = order if k is None else order[:k]
    return sum(1 for grade in first if grade > 0) / len(first) if first else 0.0


def most_precision(order: Order, k: int | None) -> float:
    """Of the best order there is."""
    return precision(sorted(order, key=lambda grade: -grade), k)


def r_precision(order: Order, k: int | None) -> float:
    relevant = sum(1 for grade in order if grade > 0)
    relevant = relevant if k is None else min(k, relevant)
    return sum(1 for grade in order[:relevant] if grade > 0) / relevant if relevant else 0.0


def recall(order: Order, k: int | None) -> float:
    first = order if k is None else order[:k]
    everything = sum(1 for grade in order if grade > 0)
    return sum(1 for grade in first if grade > 0) / everything if everything else 0.0


def average_cumulative_gain(order: Order, k: int | None) -> float:
    first = order if k is None else order[:k]
    return sum(first) / len(first) if first else 0.0


def weighted_average_precision(order: Order, k: int | None) -> float:
    """The mean of ACG@i over the ranks i up to k that hold anything of a grade above 0."""
    first = order if k is None else order[:k]
    counted, gain, total = 0, 0, 0.0
    for rank, grade in enumerate(first, start=1):
        gain += grade
        if grade > 0:
            counted += 1
            total += gain / rank
    return total / counted if counted else 0.0


def dcg(order: Order, k: int | None, *, exponential: bool) -> float:
    total = 0.0
    for rank, grade in enumerate(order if k is None else order[:k], start=1):
        total += (2**grade - 1 if exponential else grade) / log2(1 + rank)
    return total


def ndcg(order: Order, k: int | None, *, exponential: bool = True) -> float:
    ideal = dcg(sorted(order, reverse=True), k, exponential=exponential)
    return dcg(order, k, exponential=exponential) / ideal if ideal else 0.0


def hierarchical_precision(order: Order, k: int) -> float:
    ideal = sum(sorted(order, reverse=True)[:k])
    return sum(order[:k]) / ideal if ideal else 0.0


def hierarchical_average_precision(order: Order, k: int) -> float:
    """The mean of HP over the ranks 1 to k, or to the last there is."""
    last = min(k, len(order))
    return sum(hierarchical_precision(order, rank) for rank in range(1, last + 1)) / last if last else 0.0


def hierarchical_dcg(order: Order, k: int) -> float:
    total = 0.0
    for rank, grade in enumerate(order[:k], start=1):
        total += grade if rank <= 2 else grade / log2(rank)
    return total


def hierarchical_ndcg(order: Order, k: int) -> float:
    """The mean over the cut-offs 1 to k, or to the last rank there is, of the nDCG at each."""
    last, ideal = min(k, len(order)), sorted(order, reverse=True)
    total = 0.0
    for cut in range(1, last + 1):
        most = hierarchical_dcg(ideal, cut)
        total += hierarchical_dcg(order, cut) / most if most else 0.0
    return total / last if last else 0.0


def inside(order: Order, distances: Sequence[int], radius: int) -> list[int]:
    """The grades of the items in a ball."""
    return [grade for grade, distance in zip(order, distances, strict=True) if distance <= radius]


def precision_within(order: Order, distances: Sequence[int], radius: int) -> float:
    return precision(inside(order, distances, radius), None)


def recall_within(order: Order, distances: Sequence[int], radius: int) -> float:
    everything = sum(1 for grade in order if grade > 0)
    return sum(1 for grade in inside(order, distances, radius) if grade > 0) / everything if everything else 0.0


def hit_within(order: Order, distances: Sequence[int], radius: int) -> float:
    return hit(inside(order, distances, radius), None)


def average_precision_within(order: Order, distances: Sequence[int], radius: int) -> float:
    return average_precision(inside(order, distances, radius), None)


def average_precision_by_formula(tie: tuple[int, int], before: tuple[int, int], whole: float, taken: int) -> float:
    """Expected AP in `hash` where the cut takes so many of a tie of (n, relevant), after (n, relevant) others.

    By the closed form for a split tie, with exact binomials: for ties too large to go through order by order.
    `whole` is the sum of precisions at the relevant ranks before the tie.
    """
    (n, good), (ahead, good_ahead) = tie, before
    ways, total = comb(n, taken), 0.0
    for x in range(max(0, taken - (n - good)), min(good, taken) + 1):
        block = 0.0
        for place in range(1, taken + 1):
            others = (place - 1) * (x - 1) / (taken - 1) if taken > 1 else 0.0
            block += x / taken * (good_ahead + 1 + others) / (ahead + place)
        if good_ahead + x:
            total += comb(good, x) * comb(n - good, taken - x) / ways * (whole + block) / (good_ahead + x)
    return total


def arrangements(tie: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """Every different sequence of the grades of a tie. Each stands for as many orders of its items as any other."""
    if not tie:
        yield ()
    for grade in sorted(set(tie)):
        rest = list(tie)
        rest.remove(grade)
        for others in arrangements(rest):
            yield grade, *others


def orders(ranking: Ranking) -> list[list[int]]:
    """Every order inside the ties, all equally likely."""
    return [[grade for tie in picked for grade in tie] for picked in product(*map(arrangements, ranking))]


def drawn(ranking: Ranking, count: int, rng: np.random.Generator) -> list[list[int]]:
    """So many random orders inside the ties."""
    ties = [rng.permuted(np.tile(np.array(tie, np.int64), (count, 1)), axis=1) for tie in ranking if tie]
    return np.concatenate(ties, axis=1).tolist() if ties else [[] for _ in range(count)]


def tally_of(*rankings: Ranking, grades: int = 1, relevant_from: int = 1) -> Tally:
    """The counts of one query after the other, each a ranking of the same number of items."""
    bins = max((len(ranking) for ranking in rankings), default=0)
    counts = np.zeros((len(rankings), grades + 1, bins), np.int64)
    for query, ranking in enumerate(rankings):
        for place, tie in enumerate(ranking):
            for grade in tie:
                counts[query, grade, place] += 1
    return Tally(counts, relevant_from)
