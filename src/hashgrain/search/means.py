"""Items by the weighted mean of their distances to several examples, exactly.

The sum of weighted distances is, bit by bit, a weight for each bit: so an engine that orders by agreement with
real-valued outputs finds the candidates, and the distances themselves give their order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from hashgrain.codes import Codes, Words
from hashgrain.engines import Engine
from hashgrain.errors import QueryError
from hashgrain.hamming import Cost, Neighbours
from hashgrain.models import Bundle
from hashgrain.search import Hit
from hashgrain.search.hits import hits_at
from hashgrain.search.run import Clock, Question, allowed_by, codes_of, parts_option
from hashgrain.search.scores import Scores
from hashgrain.search.stages import distances_at, mask_of
from hashgrain.search.widening import WIDENING, Ranked, of_one
from hashgrain.store import Snapshot

MARGIN = 1e-3  # bits: more than the outputs of an engine, of 32 bits each, can be wrong together
DIGITS = 9  # of a mean: sums in another order may differ beyond
Means_ = NDArray[np.float64]


@dataclass(frozen=True)
class Means:
    """The means of one question. Without weights, all examples have the same."""

    snapshot: Snapshot
    engine: Engine
    like: Codes
    weights: Sequence[float]
    clock: Clock

    def of(self, words: Words, grain: str) -> Means_:
        """The weighted mean of the distances of codes to the examples."""
        mask, weights = mask_of(self.like.grains, grain, separate=False), self._weights()
        pairs = zip(weights, self.like.words, strict=True)
        summed = sum(weight * distances_at(words, example, mask) for weight, example in pairs)
        return np.round(np.asarray(summed, np.float64) / sum(weights), DIGITS)

    def first(self, n: int, question: Question, scores: Scores) -> Ranked:
        """The first n items by mean at the grain, mean over the whole code, and id; fewer if their means are larger
        than `within`, or the score of the mean too small."""
        _check_within(question.within, question.grain, self.like.grains[question.grain])
        allowed = allowed_by(self.snapshot, self.engine, question)
        outputs, wanted = self._outputs(question.grain), n
        while True:
            best, cost = self.engine.agreeing(
                outputs, wanted, grain=question.grain, where=allowed, **parts_option(question)
            )
            self.snapshot.check_segments()
            near = self._ordered(best.ids, question, cost)
            self.clock.stop("search")
            # Of those that the engine did not return, none has a smaller mean than the last.
            last = near.distances[:n][-1:] + MARGIN
            if len(near) < wanted or wanted >= len(self.snapshot) or last[0] < near.distances[-1]:
                break
            wanted = min(len(self.snapshot), wanted * WIDENING)
        kept = len(near)
        if question.within is not None:
            kept = int(np.searchsorted(near.distances, question.within, side="right"))
        if question.min_score is not None:
            radius = scores.radius(question.min_score)
            kept = min(kept, int(np.searchsorted(np.rint(near.distances), radius, side="right")))
        return of_one(_cut(near, min(n, kept)))

    def hits(self, neighbors: Neighbours, question: Question, bundle: Bundle) -> list[Hit]:
        """Hits with the means, in whole bits, as their distances."""
        ids = neighbors.ids[: question.k].tolist()
        numbers = None if neighbors.parts is None else neighbors.parts[: question.k].tolist()
        words, parts = codes_of(self.snapshot, ids, numbers)
        columns = {grain: np.rint(self.of(words, grain)).astype(np.int64) for grain in self.like.grains}
        return hits_at(columns, self.snapshot.items(ids), question.grain, bundle, parts)

    def _weights(self) -> Sequence[float]:
        return self.weights or [1.0] * len(self.like)

    def _outputs(self, grain: str) -> NDArray[np.float32]:
        """For each bit, by how much a one agrees better with the examples than a zero."""
        signs = self.like.bits().astype(np.float64) * 2 - 1
        weights = np.asarray(self._weights())
        outputs = np.asarray(weights / weights.max() @ signs, np.float32)
        if not outputs[: self.like.grains[grain]].any():
            raise QueryError(f"the examples cancel out: at {grain}, every item has the same mean distance to them")
        return outputs

    def _ordered(self, ids: NDArray[np.int64], question: Question, cost: Cost) -> Neighbours:
        finest = self.like.grains.finest
        if question.parts != "all":
            words = self.snapshot.codes(ids.tolist())
            means, full, numbers = self.of(words, question.grain), self.of(words, finest), None
        else:
            means, full, numbers = self._by_best_part(ids, question.grain)
        order = np.lexsort((ids, full, means))
        parts = None if numbers is None else numbers[order]
        return Neighbours(ids[order], means[order], full[order].astype(np.int32), len(ids), cost, parts)

    def _by_best_part(self, ids: NDArray[np.int64], grain: str) -> tuple[Means_, Means_, NDArray[np.int64]]:
        """For each item the smallest mean of its whole and its parts, then the smallest over the whole code, then the
        lowest number."""
        wholes, parts = self.snapshot.codes(ids.tolist()), self.snapshot.parts_of(ids.tolist())
        counts = [1 if each is None else 1 + len(each.codes) for each in parts]
        rows = [
            own[None] if each is None else np.concatenate([own[None], each.codes])
            for own, each in zip(wholes, parts, strict=True)
        ]
        words = np.concatenate(rows) if rows else wholes
        means, full = self.of(words, grain), self.of(words, self.like.grains.finest)
        item = np.repeat(np.arange(len(ids)), counts)
        number = np.arange(len(words)) - np.repeat(np.cumsum(counts) - counts, counts)
        order = np.lexsort((number, full, means, item))
        best = order[np.searchsorted(item[order], np.arange(len(ids)))]
        return means[best], full[best], number[best]


def _check_within(within: int | None, grain: str, bits: int) -> None:
    if within is not None and not 0 <= within <= bits:
        raise QueryError(f"a distance of {within!r} bits makes no sense at {grain}; it is from 0 to {bits}")


def _cut(near: Neighbours, n: int) -> Neighbours:
    parts = None if near.parts is None else near.parts[:n]
    return replace(near, ids=near.ids[:n], distances=near.distances[:n], full=near.full[:n], parts=parts)
