"""Searching several libraries as one, with many queries: as exact as each of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hashgrain.codes import Codes
from hashgrain.errors import OtherModelError, QueryError, Remedy
from hashgrain.library.library import Library
from hashgrain.search import MAX_K, Hit, check_k
from hashgrain.types import PartsOption


@dataclass(frozen=True)
class NamedQuery:
    """A query with a name, and the items that are the query itself: their ids, by the position of their library."""

    name: str
    code: Codes
    itself: Mapping[int, frozenset[int]] = field(default_factory=dict)


@dataclass(frozen=True)
class LibraryHit:
    library: Library
    hit: Hit


def refuse_mixed(libraries: Sequence[Library]) -> None:
    """Refuse libraries of different models: distances between their codes mean nothing."""
    first, *others = libraries
    for other in others:
        if other.store.digest != first.store.digest:
            message = f"{other.path} was built with another model than {first.path}, so their codes cannot be compared"
            remedy = Remedy("build one again with the model of the other, by rebuild_with", "same_model")
            raise OtherModelError(message, path=other.path, remedy=remedy)


def search_several(
    libraries: Sequence[Library],
    queries: Sequence[NamedQuery],
    *,
    k: int | None = 10,
    grain: str | None = None,
    where: str | Mapping[str, Any] | None = None,
    within: int | None = None,
    threads: int | None = None,
    stages: Sequence[tuple[str, int | float]] | None = None,
    separate: bool = False,
    parts: PartsOption = "whole",
    min_score: float | None = None,
) -> list[list[LibraryHit]]:
    """For each query the nearest of all libraries, without what is the query itself.

    In one order: by distance at the grain, then over the whole code, then the order of the libraries, then id.
    `stages` are shortlists in each library by itself, in which the query's own items take a place. With parts "auto"
    the order is that of the only library.
    """
    refuse_mixed(libraries)
    if parts == "auto" and len(libraries) > 1:
        raise QueryError("what is more probable decides in one library: say of several whether parts count")
    wanted = check_k(k)
    answers: list[list[tuple[tuple[int, ...], LibraryHit]]] = [[] for _ in queries]
    for place, library in enumerate(libraries):
        left_out = [query.itself.get(place, frozenset()) for query in queries]
        more = max(map(len, left_out), default=0)
        hits_by_query = library.search_many(
            [query.code for query in queries],
            k=min(MAX_K, wanted + more),
            grain=grain,
            where=where,
            within=within,
            threads=threads,
            stages=stages,
            separate=separate,
            parts=parts,
            min_score=min_score,
        )
        for answer, hits, without in zip(answers, hits_by_query, left_out, strict=True):
            others = [hit for hit in hits if hit.id not in without][:wanted]
            whole = library.grains.finest
            for rank, hit in enumerate(others):
                key = (rank,) if len(libraries) == 1 else (hit.distance, hit.distances[whole], place, hit.id)
                answer.append((key, LibraryHit(library, hit)))
    return [[hit for _, hit in sorted(answer, key=lambda pair: pair[0])[:wanted]] for answer in answers]


def items_of_query(libraries: Sequence[Library], path: str | None, content: str | None) -> dict[int, frozenset[int]]:
    """The items of each library that have this path or this content."""
    itself = {}
    for place, library in enumerate(libraries):
        known = library.store.known(path) if path is not None else None
        twins = library.store.by_content(content) if content is not None else []
        itself[place] = frozenset([item.id for item in twins] + ([known.id] if known else []))
    return itself
