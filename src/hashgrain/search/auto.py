"""Whole items and their parts in one order, exactly: by the probability that an item belongs to the query.

The same distance means less for a part than for a whole, since an item has many parts. So the engine is asked for both,
and the calibrated probability of each distance decides. For each item the more probable of the two counts; if both are
equally probable, the nearer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from hashgrain.codes import Codes
from hashgrain.engines import Engine, takes_parts
from hashgrain.hamming import Cost, Neighbours
from hashgrain.models import Bundle, Calibration
from hashgrain.search.calibration import calibrations_of
from hashgrain.search.run import Clock, Question, allowed_by, ask, ask_among
from hashgrain.search.scores import at_least, scores_of
from hashgrain.search.stages import distances_at, mask_of
from hashgrain.store import Snapshot

Ints = NDArray[np.int64]
NO_PART = 1 << 30  # a distance that no code has


@dataclass(frozen=True)
class _Near:
    """For each of some items: its distance at the grain, that over the whole code, and the part they belong to."""

    distances: Ints
    full: Ints
    parts: Ints


def ask_auto(
    snapshot: Snapshot,
    engine: Engine,
    codes: Codes,
    question: Question,
    bundle: Bundle,
    clock: Clock,
    more: int = 0,
) -> list[Neighbours]:
    """The most probable items for each code, ordered by probability, distance, distance over the whole code, and id.
    Only wholes are searched if the library has no parts, or the engine cannot search them.

    The k nearest wholes and the k nearest parts together contain the k most probable items: any other item is at least
    as far by its whole as the first k, and by its parts as the other k, so k items are at least as probable. Of the
    parts, only those count that are as probable as the k-th whole: they are far nearer, or there are none at all.
    """
    of_whole, of_part = calibrations_of(bundle, question.grain)
    if of_whole is None or of_part is None or not snapshot.any_item_has_parts or not takes_parts(engine):
        return ask(snapshot, engine, codes, replace(question, parts="whole"), clock, more)
    calibrations = of_whole, of_part
    allowed = allowed_by(snapshot, engine, question)
    clock.stop("filter")
    wanted = max(question.rerank or 1, question.k) + more
    whole = ask_among(snapshot, engine, codes, replace(question, parts="whole"), allowed, clock, more)
    bounded = question.within is None and not question.separate
    radii = [_part_radius(each, wanted, *calibrations) for each in whole] if bounded else None
    every = ask_among(snapshot, engine, codes, replace(question, parts="all"), allowed, clock, more, radii)
    shared = (question, calibrations, wanted)
    answers = [_merged(snapshot, codes[i], whole[i], every[i], *shared) for i in range(len(codes))]
    if question.min_score is None:
        return answers
    scores = scores_of(bundle, question.grain)
    return [at_least(answer, question.min_score, scores) for answer in answers]


def rank_of(bundle: Bundle, grain: str) -> Callable[[Neighbours], NDArray[np.float64]]:
    """What such answers are ordered by before the distance: the probability, the largest first."""
    whole, part = calibrations_of(bundle, grain)

    def rank(near: Neighbours) -> NDArray[np.float64]:
        if whole is None or part is None:
            return near.distances.astype(np.float64)
        likely = np.array(whole.probabilities)[near.distances]
        if near.parts is None:
            return -likely
        return np.asarray(-np.where(near.parts > 0, np.array(part.probabilities)[near.distances], likely))

    return rank


def _part_radius(whole: Neighbours, wanted: int, of_whole: Calibration, of_part: Calibration) -> int:
    """The largest distance of a part that is as probable as the last whole that is wanted. -1 if none is."""
    if len(whole) < wanted:
        return len(of_part.probabilities) - 1
    least = of_whole.probabilities[int(whole.distances[wanted - 1])]
    return int(np.flatnonzero(np.array(of_part.probabilities) >= least).max(initial=-1))


def _merged(
    snapshot: Snapshot,
    code: Codes,
    whole: Neighbours,
    every: Neighbours,
    question: Question,
    calibrations: tuple[Calibration, Calibration],
    k: int,
) -> Neighbours:
    ids = np.union1d(whole.ids, every.ids)
    by_whole = _by_whole(snapshot, code, ids, question.grain)
    by_part = _by_part(every, ids)
    if question.within is not None:
        by_whole, by_part = (_cut(near, question.within) for near in (by_whole, by_part))
    of_whole, of_part = calibrations
    probabilities = np.stack([_probabilities(of_whole, by_whole), _probabilities(of_part, by_part)])
    nearer = (by_part.distances < by_whole.distances) | (
        (by_part.distances == by_whole.distances) & (by_part.full < by_whole.full)
    )
    takes_part = (probabilities[1] > probabilities[0]) | ((probabilities[1] == probabilities[0]) & nearer)
    distances, full, parts = (
        np.where(takes_part, getattr(by_part, name), getattr(by_whole, name)) for name in ("distances", "full", "parts")
    )
    order = np.lexsort((ids, full, distances, -probabilities.max(axis=0)))[:k]
    cost = Cost(
        whole.cost.path, whole.cost.rows + every.cost.rows, whole.cost.bytes + every.cost.bytes, every.cost.parts
    )
    total = max(len(order), every.total)
    columns = (distances[order].astype(np.int32), full[order].astype(np.int32))
    return Neighbours(ids[order], *columns, total, cost, parts[order])


def _by_whole(snapshot: Snapshot, code: Codes, ids: Ints, grain: str) -> _Near:
    words = snapshot.codes(ids.tolist())
    distances, full = (
        distances_at(words, code.words[0], mask_of(code.grains, name, separate=False))
        for name in (grain, code.grains.finest)
    )
    return _Near(distances, full, np.zeros(len(ids), np.int64))


def _by_part(every: Neighbours, ids: Ints) -> _Near:
    """The nearest part of each item, for items that the engine found by a part.

    If it found an item by its whole, no part that counts is nearer. If it did not find an item, k others are nearer by
    their whole or a part, so they are at least as probable as this item by any of its parts: only its whole can put it
    among the k.
    """
    assert every.parts is not None
    nearest = _Near(np.full(len(ids), NO_PART), np.full(len(ids), NO_PART), np.zeros(len(ids), np.int64))
    rows = np.searchsorted(ids, every.ids)
    by_part = every.parts > 0
    nearest.distances[rows[by_part]] = every.distances[by_part]
    nearest.full[rows[by_part]] = every.full[by_part]
    nearest.parts[rows[by_part]] = every.parts[by_part]
    return nearest


def _cut(near: _Near, within: int) -> _Near:
    return replace(near, distances=np.where(near.distances <= within, near.distances, NO_PART))


def _probabilities(calibration: Calibration, near: _Near) -> NDArray[np.float64]:
    """-1 if there is no distance."""
    known = near.distances < NO_PART
    return np.where(known, np.array(calibration.probabilities)[np.where(known, near.distances, 0)], -1.0)
