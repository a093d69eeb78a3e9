"""From a query to its answer: the code of the query, the neighbors by the engine, the hits."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from hashgrain.codes import Codes
from hashgrain.errors import QueryError
from hashgrain.library.engine import LibraryEngine
from hashgrain.library.query_codes import QueryEncoder, stored_code
from hashgrain.models import Bundle
from hashgrain.search import Hit, check_k
from hashgrain.search.calibration import calibrations_of
from hashgrain.search.nearest import nearest_items
from hashgrain.search.query import Query
from hashgrain.search.run import Clock, Explained, Question, hits_of
from hashgrain.search.scores import check_min_score

if TYPE_CHECKING:
    from hashgrain.search.stages import Stage
    from hashgrain.types import QueryLike


def answer(query: Query, bundle: Bundle, encoder: QueryEncoder, library: LibraryEngine) -> Explained:
    """The answer to one query, and how it was found."""
    if not (query.refine or query.verify):
        return _answer(query, bundle, encoder, library)
    if query.refine:
        from hashgrain.library.refining import check_refine, refined_hits

        check_refine(query)
    if query.verify:
        from hashgrain.library.verifying import check_verify, verified_hits  # for who has OpenCV

        check_verify(query)
    explained, clock = _answer(query, bundle, encoder, library), Clock()
    if query.refine:
        explained = replace(explained, hits=refined_hits(explained.hits, query, encoder, library.store))
        clock.stop("refine")
    if query.verify:
        explained = replace(explained, hits=verified_hits(explained.hits, query, encoder))
        clock.stop("verify")
    return replace(explained, seconds={**explained.seconds, **clock.seconds})


def _answer(query: Query, bundle: Bundle, encoder: QueryEncoder, library: LibraryEngine) -> Explained:
    examples = bool(len(query.like) or len(query.unlike) or query.like_weights is not None)
    if query.of is None and query.text is None and not examples:
        raise QueryError("nothing was asked: search takes a picture, a code, the id of an item, or a text")
    question = question_of(query, bundle)
    if examples:
        from hashgrain.library.examples import answer_examples

        return answer_examples(query, question, bundle, encoder, library)
    if query.boxes or query.turned:
        return _answer_views(query, question, bundle, encoder, library)
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
        more = int(itself is not None)
        (neighbors,) = nearest_items(snapshot, engine, code, [outputs], question, bundle, clock, more)
        answered = hits_of(snapshot, code, neighbors, question, bundle, itself)
        clock.stop("fetch")
        total = neighbors.total - int(itself is not None and itself in neighbors.ids)
        return Explained(answered, neighbors.cost, len(snapshot), max(total, len(answered)), clock.seconds)


def _answer_views(
    query: Query, question: Question, bundle: Bundle, encoder: QueryEncoder, library: LibraryEngine
) -> Explained:
    """The answer to parts of a picture, or to a picture in all orientations."""
    from hashgrain.search.boxes import ask_boxes, check_boxes, check_match

    match, clock, itself = check_match(query.match), Clock(), query.item
    boxes = check_boxes(query.boxes)
    if query.of is None or query.text is not None or question.rerank or question.stages or question.separate:
        raise QueryError("boxes and turned are of a picture alone: ask without text, rerank, stages and separate codes")
    if query.turned and query.match == "all":
        raise QueryError("turned asks for any of the orientations, so it does not go with all of the boxes")
    codes = encoder.codes_of_views(query.of, boxes, query.max_pixels, turned=query.turned)
    clock.stop("encode")
    with library.snapshot_and_engine(query.threads, question.parts) as (snapshot, engine):
        clock.stop("open")
        return ask_boxes(snapshot, engine, codes, question, match, bundle, clock, itself)


def answer_many(
    queries: Iterable[QueryLike], shared: Query, bundle: Bundle, encoder: QueryEncoder, library: LibraryEngine
) -> list[list[Hit]]:
    """The hits of many queries, in order; `shared` holds what is asked of all of them."""
    question = question_of(shared, bundle)
    encoded = encoder.codes(queries, shared.max_pixels, outputs=bool(question.rerank))
    if not encoded:
        return []
    codes = [query.code for query in encoded]
    with library.snapshot_and_engine(shared.threads, question.parts) as (snapshot, engine):
        if question.stages or question.separate:
            from hashgrain.search.staged_search import ask_in_stages

            return [ask_in_stages(snapshot, engine, code, question, bundle, Clock()).hits for code in codes]
        together = Codes.concatenate(codes)
        outputs = [query.outputs for query in encoded]
        neighbors = nearest_items(snapshot, engine, together, outputs, question, bundle, Clock())
        return [hits_of(snapshot, code, near, question, bundle) for code, near in zip(codes, neighbors, strict=True)]


def question_of(query: Query, bundle: Bundle) -> Question:
    """What is asked, checked, but for the picture itself."""
    grains = bundle.grains
    grain = query.grain or grains.finest
    grains.width(grain)
    k = check_k(query.k)
    where = None
    if query.where is not None:
        from hashgrain.store import parse_filter

        where = parse_filter(query.where)
    stages: tuple[Stage, ...] = ()
    if query.stages:
        from hashgrain.search.stages import check_stages

        stages = check_stages(query.stages, grain, grains, query.separate)
    plain = query.text is None and not (stages or query.separate or query.weights is not None)
    plain = plain and query.match != "mean"
    weighed = plain and calibrations_of(bundle, grain)[1] is not None
    parts = query.parts if weighed or query.parts != "auto" else "whole"
    more = (query.weights, query.rerank, parts, check_min_score(query.min_score))
    return Question(k, grain, where, query.within, query.threads, stages, query.separate, *more)


def _check_together(question: Question, *, text: bool, item: bool) -> None:
    """Raise where an option does not go with a text, or with the id of an item."""
    if question.rerank and (text or item):
        raise QueryError("rerank takes a picture: a text is ordered by agreement as it is, an item is a code")
    if text and (question.stages or question.separate or question.weights is not None):
        raise QueryError("a text is asked of all pictures at once, without stages, weights and separate codes")
