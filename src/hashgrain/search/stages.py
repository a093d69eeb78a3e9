"""Coarse to fine: shortlists at coarse grains, taken one after the other before the answer is ordered at a fine one.

A shortlist of n at a grain holds every item that is as near as the n-th nearest there. Items tied with the last one
are included, so that ids decide nothing. With *separate* codes, a grain after the first compares only the bits that
it adds to the one before it; otherwise it compares the whole prefix.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hashgrain.codes import Grains, Words, prefix_mask
from hashgrain.errors import QueryError

SAMPLE = 200  # items on which the length for a recall is measured
MOST_RECALLED = 1_000  # the largest k that a recall can be a share of
Distances = NDArray[np.int64]


@dataclass(frozen=True)
class Stage:
    """A shortlist at a grain: `n` items and those tied with the last; or as many as hold the share `recall` of the
    nearest at the grain of the answer."""

    grain: str
    n: int = 0
    recall: float | None = None
    sampled: int = 0  # items on which the recall was measured


@dataclass(frozen=True)
class Shortlist:
    """What a stage kept: how many, of how many, how far away the last of them is."""

    grain: str
    asked: int
    kept: int
    of: int
    distance: int
    recall: float | None = None
    sampled: int = 0

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def summary(self) -> str:
        """In one line."""
        why = f"{self.asked:,} asked for"
        if self.recall is not None:
            why = f"{self.asked:,} for a recall of {self.recall:g} on {self.sampled:,} items of the library"
        return f"shortlist at {self.grain}: {self.kept:,} of {self.of:,}, up to {self.distance} bits away ({why})"


def check_stages(stages: Sequence[Sequence[Any]], grain: str, grains: Grains, separate: bool) -> tuple[Stage, ...]:
    """Stages as (grain, n) pairs, coarse to fine, none finer than the grain of the answer. A share instead of n is a
    recall."""
    if isinstance(stages, str) or not all(_is_pair(stage) for stage in stages):
        raise QueryError(f"stages are {stages!r}; they are pairs of a grain and a number: [('kind', 1000)]")
    checked = [_stage(grains.named(name), n) for name, n in stages]
    widths = [grains.width(stage.grain) for stage in checked]
    if widths != sorted(set(widths)) or (widths and widths[-1] > grains.width(grain)):
        order = ", ".join(grains.up_to(grain))
        raise QueryError(f"stages go from coarse grains to fine ones, none finer than {grain}: {order}")
    if sum(stage.recall is not None for stage in checked) > 1:
        raise QueryError("a recall says how long one shortlist is; give the others a number of items")
    if separate and checked and checked[0].grain != grains.coarsest:
        raise QueryError(
            f"separate codes are searched from the first of them on: begin with the grain {grains.coarsest}"
        )
    return tuple(checked)


def _is_pair(stage: Any) -> bool:
    return isinstance(stage, Sequence) and not isinstance(stage, str) and len(stage) == 2 and isinstance(stage[0], str)


def _stage(grain: str, n: Any) -> Stage:
    if isinstance(n, (int, np.integer)) and not isinstance(n, bool) and n >= 1:
        return Stage(grain, int(n))
    if isinstance(n, float) and math.isfinite(n) and 0 < n < 1:
        return Stage(grain, recall=n)
    raise QueryError(f"a shortlist of {n!r} items at {grain}: a whole number from 1 on, or a recall between 0 and 1")


def mask_of(grains: Grains, grain: str, separate: bool) -> Words:
    """The bits that are compared at a grain: its prefix, or where codes are separate what it adds."""
    mask = prefix_mask(grains.width(grain), grains.n_words)
    before = coarser_grain(grains, grain)
    return mask & ~prefix_mask(grains[before], grains.n_words) if separate and before else mask


def coarser_grain(grains: Grains, grain: str) -> str | None:
    """The grain that is one coarser."""
    names = list(grains.up_to(grain))
    return names[-2] if len(names) > 1 else None


def distances_at(words: Words, query: Words, mask: Words) -> Distances:
    """How many bits of the mask differ from the query (n_words,), for each code."""
    return np.asarray(np.bitwise_count((words ^ query) & mask).sum(axis=1, dtype=np.int64))


def nearest_with_ties(distances: Distances, n: int) -> NDArray[np.bool_]:
    """Which are as near as the n-th nearest."""
    if len(distances) <= n:
        return np.ones(len(distances), np.bool_)
    return np.asarray(distances <= np.partition(distances, n - 1)[n - 1])


def length_for(recall: float, ranks: NDArray[np.int64]) -> int:
    """The length of the shortest shortlist that holds that share. `ranks` has the length that each item needs."""
    wanted = math.ceil(recall * len(ranks) - 1e-9)
    return int(np.sort(ranks)[wanted - 1]) if wanted else 1
