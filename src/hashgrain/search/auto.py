"""Whole items and their parts in one order, exactly: by the probability that an item belongs to the query.

A distance means less of a part than of a whole, since an item has many parts. So both are asked for, and what each
distance is worth decides. Of an item the more probable of the two counts, and of equally probable ones the nearer.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from hashgrain.codes import Codes
from hashgrain.engines import Engine, takes_parts
from hashgrain.hamming import Cost, Neighbours
from hashgrain.models import Bundle
from hashgrain.search.calibration import Odds, odds_of
from hashgrain.search.run import Clock, Question, allowed_by, ask, ask_among
from hashgrain.store import Snapshot

Ints = NDArray[np.int64]
NO_PART = 1 << 30  # a distance that no code has


@dataclass(frozen=True)
class _Near:
    """Of some items a distance at the grain, that over the whole code, and the part that they are of."""

    distances: Ints
    full: Ints
    parts: Ints


def ask_weighed(
    snapshot: Snapshot,
    engine: Engine,
    codes: Codes,
    question: Question,
    bundle: Bundle,
    clock: Clock,
    more: int = 0,
) -> list[Neighbours]:
    """By wholes, by parts, or by what is more probable, as the question says. Where the library has no parts, or the
    engine cannot be asked for them, wholes alone are probable."""
    if question.parts != "auto":
        return ask(snapshot, engine, codes, question, clock, more)
    odds = odds_of(bundle, question.grain)
    if odds is None or not snapshot.has_parts or not takes_parts(engine):
        return ask(snapshot, engine, codes, replace(question, parts="whole"), clock, more)
    return ask_auto(snapshot, engine, codes, question, odds, clock, more)


def ask_auto(
    snapshot: Snapshot, engine: Engine, codes: Codes, question: Question, odds: Odds, clock: Clock, more: int = 0
) -> list[Neighbours]:
    """The most probable items for each code, in the order: probability, distance, distance over the whole code, id.

    An item that is among the k nearest neither by its whole nor by any part is no more probable than k others: each of
    these is at least as near by what it is found by, and no less probable for it.
    """
    allowed = allowed_by(snapshot, engine, question)
    clock.stop("filter")
    whole = ask_among(snapshot, engine, codes, replace(question, parts="whole"), allowed, clock, more)
    every = ask_among(snapshot, engine, codes, replace(question, parts="all"), allowed, clock, more)
    wanted = question.k + more
    return [_merged(snapshot, codes[i], whole[i], every[i], question, odds, wanted) for i in range(len(codes))]


def _merged(
    snapshot: Snapshot, code: Codes, whole: Neighbours, every: Neighbours, question: Question, odds: Odds, k: int
) -> Neighbours:
    ids = np.union1d(whole.ids, every.ids)
    by_whole = _of_wholes(snapshot, code, ids, question.grain)
    by_part = _of_parts(snapshot, code, ids, question.grain, every)
    if question.within is not None:
        by_whole, by_part = (_cut(near, question.within) for near in (by_whole, by_part))
    chances = np.stack([_probability(odds.whole, by_whole), _probability(odds.part, by_part)])
    nearer = (by_part.distances < by_whole.distances) | (
        (by_part.distances == by_whole.distances) & (by_part.full < by_whole.full)
    )
    takes_part = (chances[1] > chances[0]) | ((chances[1] == chances[0]) & nearer)
    distances, full, parts = (
        np.where(takes_part, getattr(by_part, name), getattr(by_whole, name)) for name in ("distances", "full", "parts")
    )
    order = np.lexsort((ids, full, distances, -chances.max(axis=0)))[:k]
    cost = Cost(
        whole.cost.path, whole.cost.rows + every.cost.rows, whole.cost.bytes + every.cost.bytes, every.cost.parts
    )
    total = max(len(order), every.total)
    columns = (distances[order].astype(np.int32), full[order].astype(np.int32))
    return Neighbours(ids[order], *columns, total, cost, parts[order])


def _of_wholes(snapshot: Snapshot, code: Codes, ids: Ints, grain: str) -> _Near:
    differing = Codes(snapshot.codes(ids.tolist()) ^ code.words[0], code.grains)
    zeros = np.zeros(len(ids), np.int64)
    return _Near(_counted(differing.at(grain)), _counted(differing), zeros)


def _of_parts(snapshot: Snapshot, code: Codes, ids: Ints, grain: str, every: Neighbours) -> _Near:
    """The nearest part of each item, but the whole. The engine has found it where it is nearer than the whole; of an
    item that it found by its whole, or not at all, no part can be nearer than that."""
    none = np.full(len(ids), NO_PART, np.int64)
    best = _Near(none, none.copy(), np.zeros(len(ids), np.int64))
    assert every.parts is not None
    found = {int(item): row for row, item in enumerate(every.ids) if every.parts[row]}
    wholes = {int(item) for row, item in enumerate(every.ids) if not every.parts[row]}
    unknown = []
    for place, item in enumerate(ids.tolist()):
        if (row := found.get(item)) is not None:
            best.distances[place], best.full[place], best.parts[place] = (
                every.distances[row],
                every.full[row],
                every.parts[row],
            )
        elif item not in wholes:
            unknown.append(place)
    for place, parts in zip(unknown, snapshot.parts_of(ids[unknown].tolist()), strict=True):
        if parts is not None:
            differing = Codes(parts.codes ^ code.words[0], code.grains)
            distances, full = _counted(differing.at(grain)), _counted(differing)
            nearest = int(np.lexsort((full, distances))[0])
            best.distances[place], best.full[place] = distances[nearest], full[nearest]
            best.parts[place] = nearest + 1
    return best


def _cut(near: _Near, within: int) -> _Near:
    return replace(near, distances=np.where(near.distances <= within, near.distances, NO_PART))


def _probability(by_distance: NDArray[np.float64], near: _Near) -> NDArray[np.float64]:
    """Below any probability where there is no distance."""
    known = near.distances < NO_PART
    return np.where(known, by_distance[np.where(known, near.distances, 0)], -1.0)


def _counted(differing: Codes) -> Ints:
    counted: Ints = np.bitwise_count(differing.words).sum(axis=1).astype(np.int64)
    return counted
