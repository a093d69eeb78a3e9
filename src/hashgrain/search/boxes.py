"""Several parts of one query at once: the items near to any of them, or near to all, exactly."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from hashgrain.codes import Codes
from hashgrain.engines import Engine, PartsMode, takes_parts
from hashgrain.errors import QueryError
from hashgrain.hamming import Cost, Neighbours
from hashgrain.media.cropping import wrong_box
from hashgrain.models import Bundle
from hashgrain.search.run import Clock, Explained, Question, ask, hits_of_boxes
from hashgrain.search.scores import narrowed, scores_of
from hashgrain.search.widening import WIDENING, Ranked, first_kept, taken
from hashgrain.store import Snapshot
from hashgrain.types import Box

Match = Literal["any", "all"]
Rank = Callable[[Neighbours], NDArray[np.float64]]  # what an answer is ordered by before the distance
MAX_BOXES = 16


def check_match(match: str) -> Match:
    if match not in get_args(Match):
        raise QueryError(f"match is {match!r}; it is 'any' or 'all' of the boxes")
    return match  # type: ignore[return-value]


def check_boxes(boxes: Sequence[Box]) -> tuple[Box, ...]:
    """The boxes of a query, or an error that says what is wrong with them."""
    if isinstance(boxes, (str, bytes)) or not isinstance(boxes, Sequence):
        raise QueryError(f"boxes are {boxes!r}; they are a list of boxes")
    if len(boxes) > MAX_BOXES:
        raise QueryError(f"{len(boxes)} boxes are given; at most {MAX_BOXES} can be asked with at once")
    for box in boxes:
        if (reason := wrong_box(box)) is not None:
            raise QueryError(f"the box {box!r} cannot be used: {reason}")
    return tuple((float(box[0]), float(box[1]), float(box[2]), float(box[3])) for box in boxes)


def ask_boxes(
    snapshot: Snapshot,
    engine: Engine,
    codes: Codes,
    question: Question,
    match: Match,
    bundle: Bundle,
    clock: Clock,
    itself: int | None,
) -> Explained:
    """The hits for the codes of several boxes, without the item `itself`, which is the query."""
    if question.parts == "auto":
        parts: PartsMode = "all" if snapshot.any_item_has_parts and takes_parts(engine) else "whole"
        question = replace(question, parts=parts)
    k, least = question.k + int(itself is not None), question.min_score
    scores = None if least is None else scores_of(bundle, question.grain)
    if least is not None and scores is not None:
        question = replace(question, within=narrowed(question.within, least, scores))

    def ask_for(n: int) -> list[Neighbours]:
        return ask(snapshot, engine, codes, replace(question, k=n), clock)

    def first(n: int) -> Ranked:
        return nearest_to_any(ask_for(n), n) if match == "any" else nearest_to_all(ask_for, n, len(snapshot))

    if least is None or scores is None:
        neighbors, box = first(k)
    else:
        neighbors, box = first_kept(first, lambda ranked: scores.of(ranked.neighbors) >= least, k, len(snapshot))
    hits = hits_of_boxes(snapshot, codes, neighbors, box, question, bundle, itself)
    clock.stop("fetch")
    return Explained(hits, neighbors.cost, len(snapshot), max(neighbors.total, len(hits)), clock.seconds)


def nearest_to_any(answers: Sequence[Neighbours], k: int, rank: Rank | None = None) -> Ranked:
    """The k items nearest to the box that each is nearest to, and which box that is. `answers` has the k nearest of
    each box, so the nearest of all are among them."""
    joined, box = _joined(answers)
    order = np.lexsort((box, joined.ids, joined.full, joined.distances, _rank(rank, joined)))
    _, first = np.unique(joined.ids[order], return_index=True)
    chosen = order[np.sort(first)][:k]
    return Ranked(taken(joined, chosen, max(len(first), *(each.total for each in answers))), box[chosen])


def nearest_to_all(ask: Callable[[int], Sequence[Neighbours]], k: int, items: int, rank: Rank | None = None) -> Ranked:
    """The k items nearest to the box that each is farthest from, and which box that is. `ask(n)` gives the n nearest
    of each box.

    An item that is missing for some box is at least as far from it as the last item found for it. So once k items are
    found for all boxes and each of them is nearer than that, no other item can be among the k.
    """
    n = k
    while True:
        answers = ask(n)
        joined, box = _joined(answers)
        ranks = _rank(rank, joined)
        order = np.lexsort(
            (box, -joined.full, -joined.distances, -ranks, joined.ids)
        )  # of each item, the farthest first
        _, first, count = np.unique(joined.ids[order], return_index=True, return_counts=True)
        farthest = order[first[count == len(answers)]]
        columns = (joined.ids, joined.full, joined.distances, ranks)
        ranked = farthest[np.lexsort(tuple(column[farthest] for column in columns))][:k]
        if n >= items or all(len(each) < n for each in answers) or _is_settled(joined, ranked, answers, n, k, rank):
            return Ranked(taken(joined, ranked, len(farthest)), box[ranked])
        n = min(items, n * WIDENING)


def _rank(rank: Rank | None, near: Neighbours) -> NDArray[np.float64]:
    return near.distances.astype(np.float64) if rank is None else rank(near)


def _is_settled(
    joined: Neighbours,
    ranked: NDArray[np.int64],
    answers: Sequence[Neighbours],
    n: int,
    k: int,
    rank: Rank | None,
) -> bool:
    """Whether every item that is not found for all boxes is farther away than the k-th of those that are."""
    if len(ranked) < k:
        return False
    last = (_rank(rank, joined)[ranked[-1]], joined.distances[ranked[-1]], joined.full[ranked[-1]])
    ends = [(_rank(rank, each)[-1], each.distances[-1], each.full[-1]) for each in answers if len(each) >= n]
    return all(last < end for end in ends)


def _joined(answers: Sequence[Neighbours]) -> tuple[Neighbours, NDArray[np.int64]]:
    """All neighbors of all boxes, one after the other, and the box of each."""
    box = np.repeat(np.arange(len(answers)), [len(each) for each in answers])
    columns = {name: np.concatenate([getattr(each, name) for each in answers]) for name in ("ids", "distances", "full")}
    parts = [each.parts for each in answers if each.parts is not None]
    cost = answers[0].cost
    whole = Cost(
        cost.path, sum(each.cost.rows for each in answers), sum(each.cost.bytes for each in answers), cost.parts
    )
    joined = Neighbours(**columns, total=len(box), cost=whole, parts=np.concatenate(parts) if parts else None)
    return joined, box
