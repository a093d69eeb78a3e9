"""Searching with several examples: their codes, which items they are, and what they cannot go with."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from hashgrain.codes import Codes
from hashgrain.errors import QueryError
from hashgrain.library.engine import LibraryEngine
from hashgrain.library.query_codes import QueryEncoder, stored_code
from hashgrain.models import Bundle
from hashgrain.search.examples import (
    Examples,
    ask_examples,
    check_count,
    check_example_weights,
    check_match,
    refuse_contradictions,
)
from hashgrain.search.query import Query
from hashgrain.search.run import Clock, Explained, Question
from hashgrain.store import Snapshot, Store

if TYPE_CHECKING:
    from hashgrain.types import QueryLike

Coded = list[Codes | None]  # None for an item, whose code is read later


def answer_examples(
    query: Query, question: Question, bundle: Bundle, encoder: QueryEncoder, library: LibraryEngine
) -> Explained:
    """The answer to several examples; the query itself is one more, the first of those to be like."""
    like, unlike = _checked(query, question)
    weights, clock = check_example_weights(query.like_weights, query.match, len(like)), Clock()
    coded = _encoded([*like, *unlike], encoder, query.max_pixels)
    left_out = frozenset(_items([*like, *unlike], library.store))
    clock.stop("encode")
    with library.snapshot_and_engine(query.threads, question.parts) as (snapshot, engine):
        clock.stop("open")
        codes = _codes([*like, *unlike], coded, snapshot, library.store)
        wanted, others = codes[: len(like)], codes[len(like) :] if unlike else None
        if others is not None:
            refuse_contradictions(wanted, others, (_names(like, "like"), _names(unlike, "unlike")), question.grain)
        examples = Examples(wanted, others, query.match, weights, left_out)
        return ask_examples(snapshot, engine, examples, question, bundle, clock)


def _checked(query: Query, question: Question) -> tuple[list[QueryLike], list[QueryLike]]:
    """The examples to be like, and to be unlike."""
    check_match(query.match)
    check_count(query.like, "like")
    check_count(query.unlike, "unlike")
    ordered = question.stages or question.separate or question.rerank or question.weights is not None
    if query.text is not None or query.boxes or query.turned or ordered:
        raise QueryError(
            "examples are asked with as they are: ask without text, boxes, turned, stages, separate codes, weights of"
            " grains and rerank"
        )
    like = [*([] if query.of is None else [query.of]), *query.like]
    if not like:
        raise QueryError("there are only examples of what not to find; give one of what to find, too")
    return like, list(query.unlike)


def _is_item(example: QueryLike) -> bool:
    return isinstance(example, (int, np.integer)) and not isinstance(example, bool)


def _encoded(examples: Sequence[QueryLike], encoder: QueryEncoder, max_pixels: int) -> Coded:
    codes = iter(encoder.codes([each for each in examples if not _is_item(each)], max_pixels))
    return [None if _is_item(each) else next(codes).code for each in examples]


def _codes(examples: Sequence[QueryLike], coded: Coded, snapshot: Snapshot, store: Store) -> Codes:
    pairs = zip(examples, coded, strict=True)
    codes = [stored_code(snapshot, store, int(each)) if code is None else code for each, code in pairs]  # type: ignore[arg-type]
    return Codes.concatenate(codes)


def _items(examples: Iterable[QueryLike], store: Store) -> Iterable[int]:
    """The items that are examples, by their id or path."""
    for each in examples:
        if _is_item(each):
            yield int(each)  # type: ignore[arg-type]
        elif isinstance(each, (str, os.PathLike)):
            known = store.known(os.path.abspath(each)) or store.known(os.fspath(each))
            if known is not None:
                yield known.id


def _names(examples: Sequence[QueryLike], which: str) -> list[str]:
    """What a message calls them."""
    return [_name(each, f"example {place} of {which}") for place, each in enumerate(examples, 1)]


def _name(example: QueryLike, otherwise: str) -> str:
    if isinstance(example, (str, os.PathLike)):
        return os.fspath(example)
    return f"item {int(example)}" if _is_item(example) else otherwise  # type: ignore[arg-type]
