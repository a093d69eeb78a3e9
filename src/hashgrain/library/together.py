"""Questions that differ in their picture alone, answered by one pass over the codes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from hashgrain.codes import Codes
from hashgrain.errors import HashgrainError
from hashgrain.library.answering import question_of
from hashgrain.library.query_codes import stored_code
from hashgrain.search.nearest import nearest_items
from hashgrain.search.query import Query
from hashgrain.search.run import Clock, Explained, hits_of
from hashgrain.store import Snapshot

if TYPE_CHECKING:
    from hashgrain.library.library import Library

Answer = Explained | HashgrainError


def shared_of(query: Query) -> Query | None:
    """What the query shares with others that can be answered together with it: all but the item or the code that it
    asks with. None for a query that asks with something else, or for more than the nearest items."""
    views = query.boxes or query.turned or query.like or query.unlike or query.like_weights
    later = query.stages or query.separate or query.rerank or query.verify or query.refine
    if views or later or query.text is not None or not (query.item is not None or isinstance(query.of, Codes)):
        return None
    return replace(query, of=None)


def answer_together(library: Library, queries: Sequence[Query]) -> list[Answer]:
    """The answer to each query, as `Library.answer` gives it alone, or the error that it would raise. The queries have
    the same `shared_of`, and ask with items or with codes, all of them."""
    question, clock = question_of(queries[0], library.bundle), Clock()
    more = int(queries[0].item is not None)
    answers: dict[int, Answer] = {}
    codes: dict[int, Codes] = {}
    with library._engine.snapshot_and_engine(queries[0].threads, question.parts) as (snapshot, engine):
        clock.stop("open")
        for place, query in enumerate(queries):
            try:
                codes[place] = _code_of(library, snapshot, query)
            except HashgrainError as error:
                answers[place] = error
        if codes:
            all_codes = Codes.concatenate(list(codes.values()))
            outputs = [None] * len(codes)
            found = nearest_items(snapshot, engine, all_codes, outputs, question, library.bundle, clock, more)
            for (place, code), neighbors in zip(codes.items(), found, strict=True):
                itself = queries[place].item
                hits = hits_of(snapshot, code, neighbors, question, library.bundle, itself)
                total = neighbors.total - int(itself is not None and itself in neighbors.ids)
                clock.stop("fetch")
                answers[place] = Explained(hits, neighbors.cost, len(snapshot), max(total, len(hits)), clock.seconds)
    return [answers[place] for place in range(len(queries))]


def _code_of(library: Library, snapshot: Snapshot, query: Query) -> Codes:
    if query.item is not None:
        return stored_code(snapshot, library.store, query.item)
    assert isinstance(query.of, Codes)
    (checked,) = library._query_encoder.codes([query.of], query.max_pixels)
    return checked.code
