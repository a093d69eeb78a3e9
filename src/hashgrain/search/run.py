"""One question to a snapshot: neighbors from the engine, hits from the catalogue, and a summary of both."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from hashgrain.codes import Codes, Grains, Words
from hashgrain.engines import Engine, PartsMode, check_parts_mode, takes_filters, takes_part_radii
from hashgrain.errors import QueryError
from hashgrain.hamming import Cost, Neighbours, rerank
from hashgrain.models import Bundle
from hashgrain.search import Hit
from hashgrain.search.hits import make_hits
from hashgrain.store import Snapshot

if TYPE_CHECKING:
    from hashgrain.models.phrases import Phrase
    from hashgrain.models.sentences import Sentence
    from hashgrain.search.stages import Shortlist, Stage
    from hashgrain.store import Filter
    from hashgrain.types import Part, PartsOption


@dataclass(frozen=True)
class Question:
    """What to search for, except the query itself."""

    k: int
    grain: str
    where: Filter | None
    within: int | None
    threads: int | None
    stages: tuple[Stage, ...] = ()  # shortlists that are taken first, coarse to fine
    separate: bool = False  # whether each grain is compared by the bits that it adds
    weights: Mapping[str, float] | None = None  # by grain, of the bits that it adds to the one before
    rerank: int | None = None  # number of nearest items to order by agreement with the outputs
    parts: PartsOption = "whole"
    min_score: float | None = None

    def __post_init__(self) -> None:
        if self.parts != "auto":
            check_parts_mode(self.parts)
        if self.parts == "all" and (self.stages or self.separate):
            raise QueryError("stages and separate codes are of whole items: ask without parts")
        self._check_weights()
        self._check_rerank()
        whole = isinstance(self.within, (int, np.integer)) and not isinstance(self.within, bool)
        if self.within is not None and not whole:
            raise QueryError(f"within is {self.within!r}; it is a whole number of bits")

    def _check_weights(self) -> None:
        if self.weights is None:
            return
        if not isinstance(self.weights, Mapping):
            raise QueryError(f"weights are {self.weights!r}; they name a number for each grain: {{'kind': 2.0, ...}}")
        if self.within is not None or self.min_score is not None or self.stages or self.separate:
            raise QueryError(
                "weights order the nearest of all items: ask without distance, score, stages, separate codes"
            )

    def _check_rerank(self) -> None:
        if self.rerank is None:
            return
        whole = isinstance(self.rerank, (int, np.integer)) and not isinstance(self.rerank, bool)
        if not whole or self.rerank < 1:
            raise QueryError(f"rerank is {self.rerank!r}; it is the number of nearest items to order anew, 1 or more")
        if self.stages or self.separate:
            raise QueryError("rerank orders the nearest of all items: ask without stages and separate codes")


@dataclass(frozen=True)
class Explained:
    """Hits, and how they were found."""

    hits: list[Hit]
    cost: Cost
    items: int  # in the library
    total: int  # how many are within the distance, or were found
    seconds: Mapping[str, float]  # encode, open, filter, search, fetch
    phrase: Phrase | Sentence | None = None  # how the text of the query was read
    shortlists: tuple[Shortlist, ...] = ()  # one per stage

    def as_dict(self) -> dict[str, Any]:
        stages = {"stages": [shortlist.as_dict() for shortlist in self.shortlists]} if self.shortlists else {}
        return stages | {
            "path": self.cost.path,
            "compared": self.cost.rows,
            "of": self.items,
            "bytes": self.cost.bytes,
            "total": self.total,
            **({} if self.cost.parts is None else {"parts": asdict(self.cost.parts)}),
            "milliseconds": {stage: round(1000 * seconds, 3) for stage, seconds in self.seconds.items()},
        }

    def summary(self) -> str:
        """One line for each shortlist, then one for the whole search."""
        times = ", ".join(f"{stage} {1000 * seconds:.1f} ms" for stage, seconds in self.seconds.items())
        several = self.cost.rows > self.items  # as when wholes are searched alone and with their parts
        known = f"codes of {self.items:,} items" if several else f"of {self.items:,} codes"
        part = f"compared {self.cost.rows:,} {known} ({self.cost.bytes / 1e6:.1f} MB)"
        whole = f"found by {self.cost.path}: {part}{self._parts_summary()}; {times}"
        return "\n".join([*(shortlist.summary() for shortlist in self.shortlists), whole])

    def _parts_summary(self) -> str:
        if (cost := self.cost.parts) is None:
            return ""
        widened = "1 widening" if cost.widenings == 1 else f"{cost.widenings} widenings"
        return f"; parts by {cost.path}: {cost.rows:,} codes ({cost.bytes / 1e6:.1f} MB), {widened}"


class Clock:
    """Where the time goes, stage by stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._since = time.perf_counter()

    def stop(self, stage: str) -> None:
        now = time.perf_counter()
        self.seconds[stage] = self.seconds.get(stage, 0.0) + now - self._since
        self._since = now


def ask(
    snapshot: Snapshot,
    engine: Engine,
    codes: Codes,
    question: Question,
    clock: Clock,
    more: int = 0,
) -> list[Neighbours]:
    """The neighbors of each code, `more` than the question asks for."""
    allowed = allowed_by(snapshot, engine, question)
    clock.stop("filter")
    return ask_among(snapshot, engine, codes, question, allowed, clock, more)


def allowed_by(snapshot: Snapshot, engine: Engine, question: Question) -> NDArray[np.int64] | None:
    """The items that the engine may return: the sorted ids of those that match the filter, or the filter itself for an
    engine that takes filters. None for all."""
    if question.where is None:
        return None
    if takes_filters(engine):
        snapshot.check_names(question.where)
        return cast("NDArray[np.int64]", question.where)  # the engine has said that it takes one there
    return snapshot.select(question.where)


def ask_among(
    snapshot: Snapshot,
    engine: Engine,
    codes: Codes,
    question: Question,
    allowed: NDArray[np.int64] | None,
    clock: Clock,
    more: int = 0,
    part_radii: Sequence[int] | None = None,
) -> list[Neighbours]:
    """As `ask`, among the items that `allowed_by` gives. Parts farther than `part_radii` make no difference."""
    wanted = max(question.rerank or 1, question.k) + more
    asked: dict[str, Any] = {"grain": question.grain, "where": allowed, **parts_option(question)}
    if question.within is None:
        weights = _own_bits_only(codes, question) if question.weights is None else question.weights
        if part_radii is not None and weights is None and takes_part_radii(engine):
            asked["part_radii"] = part_radii
        neighbors = engine.nearest(codes, wanted, weights=weights, **asked)
    else:
        neighbors = engine.within(codes, question.within, cap=wanted, **asked)
    snapshot.check_segments()
    clock.stop("search")
    return neighbors


def parts_option(question: Question) -> dict[str, PartsMode]:
    """The option `parts` of an engine: left out for whole items, so that an engine without parts can answer."""
    return {"parts": "all"} if question.parts == "all" else {}


def reranked(
    snapshot: Snapshot, neighbors: Neighbours, outputs: NDArray[np.float32], question: Question, grains: Grains
) -> Neighbours:
    """The neighbors with the first of them, as many as `question.rerank`, in a new order: by how well their bits up to
    the grain agree with the outputs of the query, then by id. For an item found by a part, the part's bits count."""
    head = neighbors.ids[: question.rerank]
    if not len(head):
        return neighbors
    numbers = None if neighbors.parts is None else neighbors.parts[: len(head)].tolist()
    words, _ = codes_of(snapshot, head.tolist(), numbers)
    best = rerank(outputs[: grains.width(question.grain)], head, words)
    by_id = np.argsort(head)
    order = np.arange(len(neighbors))
    order[: len(head)] = by_id[np.searchsorted(head[by_id], best.ids)]
    parts = None if neighbors.parts is None else neighbors.parts[order]
    distances, full = neighbors.distances[order], neighbors.full[order]
    return replace(neighbors, ids=neighbors.ids[order], distances=distances, full=full, parts=parts)


def _own_bits_only(codes: Codes, question: Question) -> Mapping[str, float] | None:
    """With separate codes, only the bits that the grain adds count."""
    if not question.separate:
        return None
    return {name: float(name == question.grain) for name in codes.grains.up_to(question.grain)}


def hits_of(
    snapshot: Snapshot,
    code: Codes,
    neighbors: Neighbours,
    question: Question,
    bundle: Bundle,
    itself: int | None = None,
) -> list[Hit]:
    """The hits for these neighbors, without the item `itself`, which is the query."""
    places = np.flatnonzero(neighbors.ids != itself)[: question.k] if itself is not None else slice(question.k)
    ids = neighbors.ids[places].tolist()
    words, parts = codes_of(snapshot, ids, None if neighbors.parts is None else neighbors.parts[places].tolist())
    return make_hits(code, snapshot.items(ids), words, question.grain, bundle, parts)


def hits_of_boxes(
    snapshot: Snapshot,
    codes: Codes,
    neighbors: Neighbours,
    box: NDArray[np.int64],
    question: Question,
    bundle: Bundle,
    itself: int | None = None,
) -> list[Hit]:
    """The same where each neighbor is of one of several codes, that of its `box`."""
    ranked: dict[int, Hit] = {}
    for number in np.unique(box).tolist():
        rows = np.flatnonzero(box == number)
        parts = None if neighbors.parts is None else neighbors.parts[rows]
        columns = {name: getattr(neighbors, name)[rows] for name in ("ids", "distances", "full")}
        of_box = replace(neighbors, **columns, parts=parts)
        ranked |= {hit.id: hit for hit in hits_of(snapshot, codes[number], of_box, question, bundle, itself)}
    return [ranked[item] for item in neighbors.ids.tolist() if item in ranked][: question.k]


def codes_of(snapshot: Snapshot, ids: Sequence[int], numbers: Sequence[int] | None) -> tuple[Words, list[Part] | None]:
    """The codes of items; or, given `numbers`, of these parts of them, and the parts."""
    if numbers is None:
        return snapshot.codes(ids), None
    from hashgrain.search.parts import matched

    return matched(snapshot, ids, numbers)
