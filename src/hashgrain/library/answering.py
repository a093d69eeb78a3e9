"""From a query to its answer: the code of the query, the neighbors by the engine, the hits."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from hashgrain.codes import Codes, Grains
from hashgrain.engines import Engine, takes_parts
from hashgrain.errors import QueryError
from hashgrain.hamming import Neighbours
from hashgrain.library.engine import LibraryEngine
from hashgrain.library.query_codes import QueryEncoder, stored_code
from hashgrain.models import Bundle
from hashgrain.search import Hit, check_k
from hashgrain.search.calibration import odds_of
from hashgrain.search.query import Query
from hashgrain.search.run import Clock, Explained, Question, ask, hits_of, hits_of_boxes, reranked
from hashgrain.store import parse_filter

if TYPE_CHECKING:
    from hashgrain.search.stages import Stage
    from hashgrain.store import Snapshot
    from hashgrain.types import PartsOption, QueryLike


def answer(query: Query, bundle: Bundle, encoder: QueryEncoder, library: LibraryEngine) -> Explained:
    """The answer to one query, and how it was found."""
    if query.of is None and query.text is None:
        raise QueryError("nothing was asked: search takes a picture, a code, the id of an item, or a text")
    question = question_of(query, bundle.grains)
    if query.boxes:
        return _answer_boxes(query, question, bundle, encoder, library)
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
        (neighbors,) = _neighbors(snapshot, engine, code, question, bundle, clock, int(itself is not None))
        if outputs is not None:
            neighbors = reranked(snapshot, neighbors, outputs, question, bundle.grains)
        answered = hits_of(snapshot, code, neighbors, question, bundle, itself)
        clock.stop("fetch")
        total = neighbors.total - int(itself is not None and itself in neighbors.ids)
        return Explained(answered, neighbors.cost, len(snapshot), max(total, len(answered)), clock.seconds)


def _neighbors(
    snapshot: Snapshot,
    engine: Engine,
    codes: Codes,
    question: Question,
    bundle: Bundle,
    clock: Clock,
    more: int = 0,
) -> list[Neighbours]:
    """By wholes, by parts, or by what is more probable where the library has parts and the model says how probable."""
    if question.parts == "auto":
        odds = odds_of(bundle, question.grain) if snapshot.has_parts and takes_parts(engine) else None
        if odds is not None:
            from hashgrain.search.auto import ask_auto

            return ask_auto(snapshot, engine, codes, question, odds, clock, more)
        question = replace(question, parts="whole")
    return ask(snapshot, engine, codes, question, clock, more)


def _answer_boxes(
    query: Query, question: Question, bundle: Bundle, encoder: QueryEncoder, library: LibraryEngine
) -> Explained:
    """The answer to parts of a picture."""
    from hashgrain.search.boxes import check_boxes, nearest_to_all, nearest_to_any

    boxes, clock, itself = check_boxes(query.boxes, query.match), Clock(), query.item
    if query.of is None or query.text is not None or question.rerank or question.stages or question.separate:
        raise QueryError("boxes are of a picture alone: ask without text, rerank, stages and separate codes")
    codes = encoder.codes_of_boxes(query.of, boxes, query.max_pixels)
    clock.stop("encode")
    with library.snapshot_and_engine(query.threads, question.parts) as (snapshot, engine):
        clock.stop("open")
        k = question.k + int(itself is not None)

        def ask_for(n: int) -> list[Neighbours]:
            return ask(snapshot, engine, codes, replace(question, k=n, parts=parts), clock)

        parts: PartsOption = question.parts
        if parts == "auto":
            parts = "all" if snapshot.has_parts and takes_parts(engine) else "whole"

        if query.match == "any":
            neighbors, box = nearest_to_any(ask_for(k), k)
        else:
            neighbors, box = nearest_to_all(ask_for, k, len(snapshot))
        answered = hits_of_boxes(snapshot, codes, neighbors, box, question, bundle, itself)
        clock.stop("fetch")
        return Explained(answered, neighbors.cost, len(snapshot), max(neighbors.total, len(answered)), clock.seconds)


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
        neighbors = _neighbors(snapshot, engine, Codes.concatenate(codes), question, bundle, Clock())
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
    plain = query.text is None and not (stages or query.separate or query.weights is not None or query.rerank)
    parts = query.parts if plain or query.parts != "auto" else "whole"
    more = (query.weights, query.rerank, parts)
    return Question(k, grain, where, query.within, query.threads, stages, query.separate, *more)


def _check_together(question: Question, *, text: bool, item: bool) -> None:
    """Raise where an option does not go with a text, or with the id of an item."""
    if question.rerank and (text or item):
        raise QueryError("rerank takes a picture: a text is ordered by agreement as it is, an item is a code")
    if text and (question.stages or question.separate or question.weights is not None):
        raise QueryError("a text is asked of all pictures at once, without stages, weights and separate codes")
