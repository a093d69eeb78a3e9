"""From a query to its answer: the code of the query, the neighbors by the engine, the hits."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from hashgrain.codes import Codes, Grains
from hashgrain.errors import QueryError
from hashgrain.library.engine import LibraryEngine
from hashgrain.library.query_codes import QueryEncoder, stored_code
from hashgrain.models import Bundle
from hashgrain.search import Hit, check_k
from hashgrain.search.query import Query
from hashgrain.search.run import Clock, Explained, Question, ask, hits_of, reranked
from hashgrain.store import parse_filter

if TYPE_CHECKING:
    from hashgrain.search.stages import Stage
    from hashgrain.types import QueryLike


def answer(query: Query, bundle: Bundle, encoder: QueryEncoder, library: LibraryEngine) -> Explained:
    """The answer to one query, and how it was found."""
    if query.of is None and query.text is None:
        raise QueryError("nothing was asked: search takes a picture, a code, the id of an item, or a text")
    question = question_of(query, bundle.grains)
    itself = query.item
    clock = Clock()
    phrase = None if query.text is None else encoder.words(query.text)
    _check_together(question, text=query.text is not None, item=itself is not None)
    code, outputs = None, None
    if query.of is not None and itself is None:
        (encoded,) = encoder.codes([query.of], query.max_pixels, outputs=bool(question.rerank))
        code, outputs = encoded.code, encoded.outputs if question.rerank else None
    clock.stop("encode")
    with library.snapshot_and_engine(query.threads, question.parts) as (snapshot, engine):
        clock.stop("open")
        if itself is not None:
            code = stored_code(snapshot, library.store, itself)
        if phrase is not None:
            text_query = phrase if code is None else phrase.with_picture(code)
            return text_query.ask(snapshot, engine, question, clock, itself)
        assert code is not None
        if question.stages or question.separate:
            from hashgrain.search.staged_search import ask_in_stages

            return ask_in_stages(snapshot, engine, code, question, bundle, clock, itself)
        (neighbors,) = ask(snapshot, engine, code, question, clock, int(itself is not None))
        if outputs is not None:
            neighbors = reranked(snapshot, neighbors, outputs, question, bundle.grains)
        answered = hits_of(snapshot, code, neighbors, question, bundle, itself)
        clock.stop("fetch")
        total = neighbors.total - int(itself is not None and itself in neighbors.ids)
        return Explained(answered, neighbors.cost, len(snapshot), max(total, len(answered)), clock.seconds)


def answer_many(
    queries: Iterable[QueryLike], shared: Query, bundle: Bundle, encoder: QueryEncoder, library: LibraryEngine
) -> list[list[Hit]]:
    """The hits of many queries, in order; `shared` holds what is asked of all of them."""
    question = question_of(shared, bundle.grains)
    encoded = encoder.codes(queries, shared.max_pixels, outputs=bool(question.rerank))
    if not encoded:
        return []
    codes = [query.code for query in encoded]
    with library.snapshot_and_engine(shared.threads, question.parts) as (snapshot, engine):
        if question.stages or question.separate:
            from hashgrain.search.staged_search import ask_in_stages

            return [ask_in_stages(snapshot, engine, code, question, bundle, Clock()).hits for code in codes]
        neighbors = ask(snapshot, engine, Codes.concatenate(codes), question, Clock())
        answers = []
        for query, near in zip(encoded, neighbors, strict=True):
            if question.rerank and query.outputs is not None:
                near = reranked(snapshot, near, query.outputs, question, bundle.grains)
            answers.append(hits_of(snapshot, query.code, near, question, bundle))
        return answers


def question_of(query: Query, grains: Grains) -> Question:
    """What is asked, checked, but for the picture itself."""
    grain = query.grain or grains.finest
    grains.width(grain)
    k = check_k(query.k)
    where = None if query.where is None else parse_filter(query.where)
    stages: tuple[Stage, ...] = ()
    if query.stages:
        from hashgrain.search.stages import check_stages

        stages = check_stages(query.stages, grain, grains, query.separate)
    more = (query.weights, query.rerank, query.parts)
    return Question(k, grain, where, query.within, query.threads, stages, query.separate, *more)


def _check_together(question: Question, *, text: bool, item: bool) -> None:
    """Raise where an option does not go with a text, or with the id of an item."""
    if question.rerank and (text or item):
        raise QueryError("rerank takes a picture: a text is ordered by agreement as it is, an item is a code")
    if text and (question.stages or question.separate or question.weights is not None):
        raise QueryError("a text is asked of all pictures at once, without stages, weights and separate codes")
