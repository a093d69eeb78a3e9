"""The nearest items of one code or of many: ordered by distance or by probability, above a smallest score, reranked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from hashgrain.codes import Codes
from hashgrain.engines import Engine
from hashgrain.hamming import Neighbours
from hashgrain.models import Bundle
from hashgrain.search.run import Clock, Question, ask, reranked
from hashgrain.search.scores import at_least, narrowed, scores_of
from hashgrain.search.widening import first_kept, of_one
from hashgrain.store import Snapshot

Outputs = NDArray[np.float32]


def nearest_items(
    snapshot: Snapshot,
    engine: Engine,
    codes: Codes,
    outputs: Sequence[Outputs | None],
    question: Question,
    bundle: Bundle,
    clock: Clock,
    more: int = 0,
) -> list[Neighbours]:
    """The neighbors of each code, `more` than the question asks for. `outputs` are those of the model for each code,
    or None."""

    def find(rows: slice, asked: Question) -> list[Neighbours]:
        if question.parts == "auto":
            from hashgrain.search.auto import ask_auto  # only for models that are calibrated for parts

            answers = ask_auto(snapshot, engine, codes[rows], asked, bundle, clock, more)
        else:
            answers = ask(snapshot, engine, codes[rows], asked, clock, more)
        if not question.rerank:
            return answers
        pairs = zip(answers, outputs[rows], strict=True)
        return [near if out is None else reranked(snapshot, near, out, asked, bundle.grains) for near, out in pairs]

    least = question.min_score
    if least is None:
        return find(slice(None), question)
    scores = scores_of(bundle, question.grain)
    question = replace(question, within=narrowed(question.within, least, scores))
    if question.parts != "all":  # the answer falls by score, so what is left out is its end
        return [at_least(near, least, scores) for near in find(slice(None), question)]
    return [
        first_kept(
            lambda n, at=at: of_one(find(slice(at, at + 1), replace(question, k=n))[0]),  # type: ignore[misc]
            lambda ranked: scores.of(ranked.neighbors) >= least,
            question.k + more,
            len(snapshot),
        ).neighbors
        for at in range(len(codes))
    ]
