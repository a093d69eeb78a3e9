"""Coarse-to-fine search: a shortlist from the engine, shorter ones from its codes, then the answer."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hashgrain.codes import Codes, Grains, Words
from hashgrain.engines import Engine, select_codes
from hashgrain.errors import QueryError
from hashgrain.hamming import Cost, Neighbours, count_ranges, rows_of
from hashgrain.models import Bundle
from hashgrain.search import Hit
from hashgrain.search.hits import make_hits
from hashgrain.search.run import Clock, Explained, Question, ask_among
from hashgrain.search.stages import (
    MOST_RECALLED,
    SAMPLE,
    Shortlist,
    Stage,
    coarser_grain,
    distances_at,
    length_for,
    mask_of,
    nearest_with_ties,
)
from hashgrain.store import Snapshot

Ids = NDArray[np.int64]


def ask_in_stages(
    snapshot: Snapshot,
    engine: Engine,
    code: Codes,
    question: Question,
    bundle: Bundle,
    clock: Clock,
    itself: int | None = None,
) -> Explained:
    """The hits at the grain of the question among the shortlists of its stages, without the item that is the query."""
    allowed = None if question.where is None else snapshot.select(question.where)
    if itself is not None and allowed is not None:
        allowed = allowed[allowed != itself]
    clock.stop("filter")
    search = _StagedSearch(snapshot, engine, question, allowed, clock, code.grains)
    stages = [search.sized(stage) for stage in question.stages]
    ids, words, cost = search.first(code, stages[0] if stages else None, itself)
    of = (len(snapshot) if allowed is None else len(allowed)) - int(itself is not None and allowed is None)
    shortlists = []
    for stage in stages:
        near = distances_at(words, code.words[0], mask_of(code.grains, stage.grain, question.separate))
        selected = nearest_with_ties(near, stage.n)
        ids, words, near = ids[selected], words[selected], near[selected]
        shortlists.append(
            Shortlist(stage.grain, stage.n, len(ids), of, int(near.max(initial=0)), stage.recall, stage.sampled)
        )
        of = len(ids)
    order = _order(code, ids, words, question)
    first = order[: question.k]
    snapshot.check_segments()
    clock.stop("search")
    hits = make_hits(code, snapshot.items(ids[first].tolist()), words[first], question.grain, bundle)
    if question.separate:
        hits = [_by_own_bits(hit, code.grains) for hit in hits]
    n_hits = len(hits)
    if question.min_score is not None:
        hits = [hit for hit in hits if hit.score >= question.min_score]
    clock.stop("fetch")
    total = len(hits) if question.within is None or len(hits) < n_hits else len(order)
    return Explained(hits, cost, len(snapshot), total, clock.seconds, shortlists=tuple(shortlists))


@dataclass(frozen=True)
class _StagedSearch:
    """What every step of one question shares."""

    snapshot: Snapshot
    engine: Engine
    question: Question
    allowed: Ids | None  # sorted ids of the items that may answer; None for all
    clock: Clock
    grains: Grains

    def nearest(self, codes: Codes, k: int, grain: str, *, separate: bool = False) -> list[Neighbours]:
        asked = dataclasses.replace(self.question, k=k, grain=grain, within=None, separate=separate)
        return ask_among(self.snapshot, self.engine, codes, asked, self.allowed, self.clock)

    def within(self, code: Codes, radius: int, grain: str) -> Neighbours:
        asked = dataclasses.replace(self.question, k=max(1, len(self.snapshot)), grain=grain, within=radius)
        return ask_among(self.snapshot, self.engine, code, asked, self.allowed, self.clock)[0]

    def first(self, code: Codes, stage: Stage | None, itself: int | None) -> tuple[Ids, Words, Cost]:
        """What the engine finds for the first stage, with every item tied with the last. Without stages, what it finds
        for the answer itself."""
        more, question = int(itself is not None and self.allowed is None), self.question
        if stage is not None:
            wanted = min(stage.n + more, max(1, len(self.snapshot)))
            (neighbors,) = self.nearest(code, wanted, stage.grain)
            if len(neighbors) == wanted:  # there may be others as near as the last
                neighbors = self.within(code, int(neighbors.distances[-1]), stage.grain)
        elif question.within is None:
            (neighbors,) = self.nearest(code, question.k + more, question.grain, separate=question.separate)
        else:
            neighbors = self.within(code, code.grains[question.grain], question.grain)
        others = np.sort(neighbors.ids[neighbors.ids != itself] if itself is not None else neighbors.ids)
        return *select_codes(self.snapshot.segments, others), neighbors.cost

    def sized(self, stage: Stage) -> Stage:
        """A stage with its length. For a recall, it is the shortest length that holds this share of the k nearest,
        measured on a sample of the library's own items, spread evenly over those that may answer."""
        if stage.recall is None:
            return stage
        if self.question.k > MOST_RECALLED:
            raise QueryError(f"a recall is a share of the k nearest: name a k of at most {MOST_RECALLED:,}")
        ids = _every_id(self.snapshot) if self.allowed is None else self.allowed
        places = np.unique(np.linspace(0, len(ids) - 1, min(SAMPLE, len(ids))).astype(np.int64))
        sample, words = select_codes(self.snapshot.segments, ids[places])
        ranks = self._ranks(sample, words, ids, stage.grain) if len(ids) > 1 else np.empty(0, np.int64)
        return dataclasses.replace(stage, n=length_for(stage.recall, ranks), sampled=len(sample))

    def _ranks(self, sample: Ids, words: Words, ids: Ids, grain: str) -> NDArray[np.int64]:
        """For each of the k nearest of each sampled item: the length of the shortlist at the grain that holds it."""
        grains, question = self.grains, self.question
        neighbors = self.nearest(Codes(words, grains), question.k + 1, question.grain, separate=question.separate)
        mask = mask_of(grains, grain, separate=False)
        _, every = select_codes(self.snapshot.segments, ids)
        cut = np.ascontiguousarray((words & mask)[:, : (grains[grain] + 63) // 64])
        rows = rows_of(np.ascontiguousarray((every & mask)[:, : cut.shape[1]]))
        at = count_ranges(cut, rows, np.zeros((len(cut), 1, 2), np.int64), threads=question.threads).sum(axis=1)
        nearer = np.cumsum(at, axis=1) - at  # rows at a smaller distance
        ranks = []
        for own, code, before, near in zip(sample.tolist(), words, nearer, neighbors, strict=True):
            others = near.ids[near.ids != own][: question.k]
            _, theirs = select_codes(self.snapshot.segments, np.sort(others))
            apart = distances_at(theirs, code, mask)
            ranks.append(np.maximum(before[apart], 1))  # of those nearer one is the item itself
        return np.concatenate(ranks)


def _every_id(snapshot: Snapshot) -> Ids:
    alive = [segment.ids[segment.alive] for segment in snapshot.segments]
    return np.sort(np.concatenate(alive)) if alive else np.empty(0, np.int64)


def _order(code: Codes, ids: Ids, words: Words, question: Question) -> NDArray[np.int64]:
    """The places of the answer in its order: distance at the grain, over the whole code, id."""
    apart = distances_at(words, code.words[0], mask_of(code.grains, question.grain, question.separate))
    order = np.lexsort((ids, np.bitwise_count(words ^ code.words[0]).sum(axis=1), apart))
    if question.within is None:
        return order
    bits = _bits_of(code.grains, question.grain, question.separate)
    if not 0 <= question.within <= bits:
        raise QueryError(
            f"a distance of {question.within!r} bits makes no sense at {question.grain}; it is from 0 to {bits}"
        )
    return np.asarray(order[apart[order] <= question.within])


def _bits_of(grains: Grains, grain: str, separate: bool) -> int:
    before = coarser_grain(grains, grain) if separate else None
    return grains[grain] - (grains[before] if before else 0)


def _by_own_bits(hit: Hit, grains: Grains) -> Hit:
    """The hit by the bits that its grain adds. It has no word, since words are calibrated on prefixes, and its score is
    the share of equal bits."""
    before = coarser_grain(grains, hit.grain)
    if before is None:
        return hit
    apart = hit.distance - hit.distances[before]
    score = round(1 - apart / _bits_of(grains, hit.grain, separate=True), 4)
    return dataclasses.replace(hit, distance=apart, word="", score=score)
