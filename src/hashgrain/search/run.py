"""One question to a snapshot: neighbours from the engine, hits from the catalogue, and the account of both."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hashgrain.codes import Codes
from hashgrain.engines import EmbeddedEngine
from hashgrain.errors import QueryError
from hashgrain.hamming import Cost, Index, Neighbours
from hashgrain.models import Bundle
from hashgrain.search import Hit
from hashgrain.search.hits import answers
from hashgrain.store import Snapshot

if TYPE_CHECKING:
    from hashgrain.models.phrases import Phrase
    from hashgrain.models.sentences import Sentence
    from hashgrain.search.stages import Shortlist, Stage


@dataclass(frozen=True)
class Question:
    """What to search for, but for the picture itself."""

    k: int
    grain: str
    where: str | Mapping[str, Any] | None
    within: int | None
    threads: int | None
    stages: tuple[Stage, ...] = ()  # shortlists before it, coarse to fine
    separate: bool = False  # whether each grain is compared by the bits that it adds

    def __post_init__(self) -> None:
        whole = isinstance(self.within, (int, np.integer)) and not isinstance(self.within, bool)
        if self.within is not None and not whole:
            raise QueryError(f"within is {self.within!r}; it is a whole number of bits")


@dataclass(frozen=True)
class Explained:
    """Hits, and how they were found."""

    hits: list[Hit]
    cost: Cost
    items: int  # in the library
    total: int  # how many are within the distance asked for, or were found
    seconds: Mapping[str, float]  # encode, open, filter, search, fetch
    phrase: Phrase | Sentence | None = None  # how the words of the question were read
    shortlists: tuple[Shortlist, ...] = ()  # one a stage

    def as_dict(self) -> dict[str, Any]:
        stages = {"stages": [shortlist.as_dict() for shortlist in self.shortlists]} if self.shortlists else {}
        return stages | {
            "path": self.cost.path,
            "compared": self.cost.rows,
            "of": self.items,
            "bytes": self.cost.bytes,
            "total": self.total,
            "milliseconds": {stage: round(1000 * seconds, 3) for stage, seconds in self.seconds.items()},
        }

    def told(self) -> str:
        """The account: a line for each shortlist, then one for the whole."""
        times = ", ".join(f"{stage} {1000 * seconds:.1f} ms" for stage, seconds in self.seconds.items())
        part = f"compared {self.cost.rows:,} of {self.items:,} codes ({self.cost.bytes / 1e6:.1f} MB)"
        found = f"found by {self.cost.path}: {part}; {times}"
        return "\n".join([*(shortlist.told() for shortlist in self.shortlists), found])


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
    snapshot: Snapshot, indexes: Sequence[Index], codes: Codes, question: Question, clock: Clock, more: int = 0
) -> list[Neighbours]:
    """The neighbours of each code; `more` of them than the question asks for."""
    kept = None if question.where is None else snapshot.select(question.where)
    clock.stop("filter")
    return ask_among(snapshot, indexes, codes, question, kept, clock, more)


def ask_among(
    snapshot: Snapshot,
    indexes: Sequence[Index],
    codes: Codes,
    question: Question,
    kept: NDArray[np.int64] | None,
    clock: Clock,
    more: int = 0,
) -> list[Neighbours]:
    """The same among the items whose ids, sorted, are `kept`; None for all."""
    engine = EmbeddedEngine(snapshot.segments, codes.grains, indexes, question.threads)
    wanted = question.k + more
    if question.within is None:
        found = engine.nearest(codes, wanted, grain=question.grain, where=kept, weights=_weights(codes, question))
    else:
        found = engine.within(codes, question.within, grain=question.grain, where=kept, cap=wanted)
    snapshot.check_segments()
    if any(index.cut() for index in indexes):  # answers without it are the same
        return ask_among(snapshot, [index for index in indexes if not index.cut()], codes, question, kept, clock, more)
    clock.stop("search")
    return found


def _weights(codes: Codes, question: Question) -> Mapping[str, float] | None:
    """Of separate codes the grain's own bits count, and those before it do not."""
    if not question.separate:
        return None
    return {name: float(name == question.grain) for name in codes.grains.up_to(question.grain)}


def hits(
    snapshot: Snapshot,
    code: Codes,
    found: Neighbours,
    question: Question,
    bundle: Bundle,
    itself: int | None = None,
) -> list[Hit]:
    """The neighbours told in full, without the item that is the query `itself`."""
    ids = [int(i) for i in found.ids if i != itself][: question.k]
    return answers(code, snapshot.items(ids), snapshot.codes(ids), question.grain, bundle)
