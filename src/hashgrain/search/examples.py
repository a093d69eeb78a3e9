"""Several examples at once: items like any of them, like all, or near on average; and nearer to them than to others.

An item is left out if what is found of it, the whole or a part, is nearer to an `unlike` example than to the `like`
example that it is listed for; with the mean, than that mean. All answers are exact: more neighbors are asked for until
enough of them stay, or there are no more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from hashgrain.codes import Codes
from hashgrain.engines import Engine
from hashgrain.errors import QueryError
from hashgrain.hamming import Neighbours
from hashgrain.models import Bundle
from hashgrain.search.boxes import Rank, nearest_to_all, nearest_to_any
from hashgrain.search.means import Means
from hashgrain.search.nearest import nearest_items
from hashgrain.search.run import Clock, Explained, Question, codes_of, hits_of_boxes
from hashgrain.search.scores import narrowed, scores_of
from hashgrain.search.stages import distances_at, mask_of
from hashgrain.search.widening import Mask, Ranked, first_kept
from hashgrain.store import Snapshot

MatchExamples = Literal["any", "all", "mean"]
MAX_EXAMPLES = 100
LEAST_WEIGHT, MOST_WEIGHT = 0.001, 1000
FAR = 1 << 30  # a distance that no code has


@dataclass(frozen=True)
class Examples:
    """What to find items like, what unlike, and how several examples are combined."""

    like: Codes
    unlike: Codes | None
    match: MatchExamples = "any"
    weights: tuple[float, ...] = ()  # of the examples to be like; equal if there are none
    left_out: frozenset[int] = frozenset()  # the items that are examples


def check_match(match: str) -> None:
    if match not in get_args(MatchExamples):
        raise QueryError(f"match is {match!r}; it is 'any' or 'all' of the examples, or the 'mean'")


def check_count(examples: object, which: str) -> None:
    """Refuse what is no list of examples, or too long a one."""
    if isinstance(examples, (str, bytes, bytearray)) or not isinstance(examples, Sequence):
        raise QueryError(f"{which} is a list of examples, not {type(examples).__name__}")
    if len(examples) > MAX_EXAMPLES:
        raise QueryError(f"{len(examples)} examples are given as {which}; at most {MAX_EXAMPLES} can be")


def check_example_weights(weights: Sequence[float] | None, match: str, count: int) -> tuple[float, ...]:
    """The weights of the examples, which the mean alone uses."""
    if weights is None:
        return ()
    if match != "mean":
        raise QueryError(f"weights of examples are for the mean of the distances: match is 'mean' then, not {match!r}")
    if isinstance(weights, (str, bytes)) or not isinstance(weights, Sequence) or len(weights) != count:
        raise QueryError(f"the weights of examples are {weights!r}; they are a number for each of the {count}")
    for weight in weights:
        number = isinstance(weight, (int, float, np.integer, np.floating)) and not isinstance(weight, bool)
        if not number or not LEAST_WEIGHT <= weight <= MOST_WEIGHT:
            raise QueryError(f"the weight {weight!r} of an example is no number from {LEAST_WEIGHT} to {MOST_WEIGHT:,}")
    return tuple(float(weight) for weight in weights)


def refuse_contradictions(like: Codes, unlike: Codes, names: tuple[Sequence[str], Sequence[str]], grain: str) -> None:
    """Refuse a like and an unlike example that have the same code at the grain."""
    same = (like.at(grain).words[:, None] == unlike.at(grain).words).all(axis=2)
    if not same.any():
        return
    one, other = (int(place) for place in np.argwhere(same)[0])
    message = f"{names[0][one]} and {names[1][other]} contradict each other: one to be like, one to be unlike"
    if np.array_equal(like.words[one], unlike.words[other]):
        raise QueryError(f"{message}, but they have the same code")
    raise QueryError(f"{message}, but they have the same code at {grain}; ask at a finer grain")


def ask_examples(
    snapshot: Snapshot, engine: Engine, examples: Examples, question: Question, bundle: Bundle, clock: Clock
) -> Explained:
    """The hits for the examples, without the items that are examples."""
    search = _ExampleSearch(snapshot, engine, examples, question, bundle, clock)
    ranked = first_kept(search.first, search.keep, question.k, len(snapshot), more=len(examples.left_out))
    neighbors = ranked.neighbors
    if examples.match == "mean":
        hits = search.means.hits(neighbors, question, bundle)
    else:
        hits = hits_of_boxes(snapshot, examples.like, neighbors, ranked.of, question, bundle)
    clock.stop("fetch")
    return Explained(hits, neighbors.cost, len(snapshot), max(neighbors.total, len(hits)), clock.seconds)


class _ExampleSearch:
    """What every step of one question shares."""

    def __init__(
        self,
        snapshot: Snapshot,
        engine: Engine,
        examples: Examples,
        question: Question,
        bundle: Bundle,
        clock: Clock,
    ) -> None:
        self.snapshot, self.engine, self.examples = snapshot, engine, examples
        self.bundle, self.clock = bundle, clock
        self.least, self.scores = question.min_score, scores_of(bundle, question.grain)
        if self.least is not None and examples.match != "mean":
            question = replace(question, within=narrowed(question.within, self.least, self.scores))
        self.question = question
        self.means = Means(snapshot, engine, examples.like, examples.weights, clock)
        self.rank: Rank | None = None
        if question.parts == "auto":
            from hashgrain.search.auto import rank_of  # only for models that are calibrated for parts

            self.rank = rank_of(bundle, question.grain)

    def first(self, n: int) -> Ranked:
        """The first n items, whether they are kept or not."""
        if self.examples.match == "mean":
            return self.means.first(n, self.question, self.scores)
        if self.examples.match == "any":
            return nearest_to_any(self._ask(n), n, self.rank)
        return nearest_to_all(self._ask, n, len(self.snapshot), self.rank)

    def _ask(self, n: int) -> list[Neighbours]:
        # With all parts, an item of too small a score stays in the order of distances: it is left out at the end.
        least = None if self.question.parts == "all" else self.least
        asked = replace(self.question, k=n, min_score=least)
        like = self.examples.like
        return nearest_items(self.snapshot, self.engine, like, [None] * len(like), asked, self.bundle, self.clock)

    def keep(self, ranked: Ranked) -> Mask:
        """Which are in the answer: no examples, of a sufficient score, not nearer to an unlike example."""
        neighbors = ranked.neighbors
        kept = ~np.isin(neighbors.ids, list(self.examples.left_out))
        if self.least is not None:
            kept &= self.scores.of(neighbors) >= self.least
        if self.examples.unlike is not None:
            kept &= self._to_unlike(neighbors) >= neighbors.distances
        return np.asarray(kept)

    def _to_unlike(self, neighbors: Neighbours) -> NDArray[np.int64]:
        """The distance of what was found of each item to the nearest of the unlike examples."""
        numbers = None if neighbors.parts is None else neighbors.parts.tolist()
        words, _ = codes_of(self.snapshot, neighbors.ids.tolist(), numbers)
        unlike = self.examples.unlike
        assert unlike is not None
        mask = mask_of(unlike.grains, self.question.grain, separate=False)
        return np.asarray(np.min([distances_at(words, each, mask) for each in unlike.words], axis=0, initial=FAR))
