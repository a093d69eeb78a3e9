"""Searching by words, alone or with a picture: pictures are scored by how their bits agree with a phrase."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hashgrain.codes import Codes
from hashgrain.engines import Engine
from hashgrain.errors import QueryError, Remedy
from hashgrain.hamming import Cost
from hashgrain.models import Bundle
from hashgrain.models.phrases import Phrase, read_phrase
from hashgrain.models.sentences import Sentence
from hashgrain.models.text import read_table, text_code
from hashgrain.search import Hit
from hashgrain.search.hits import make_hits
from hashgrain.search.run import Clock, Explained, Question, allowed_by, ask, codes_of, parts_option
from hashgrain.store import Snapshot

if TYPE_CHECKING:
    from hashgrain.models.text_encoder import TextEncoder

Ids = NDArray[np.int64]


def read_nouns(bundle: Bundle, text: str) -> TextQuery:
    """Read a phrase with the words of a model that has a table of classes."""
    table = read_table(bundle.others, bundle.grains.bits, bundle.name)
    if table is None:
        remedy = Remedy("rebuild the library with such a model, such as photo", "rebuild_for_words")
        message = (
            f"the model {bundle.name!r} knows no words; searching by words takes a library built with one that does"
        )
        raise QueryError(message, remedy=remedy)
    phrase = read_phrase(text)
    if phrase.weights is None:
        raise QueryError(f"the phrase has {phrase.summary()}; name a thing that pictures show")
    return _text_query(phrase, text_code(table, phrase.weights), bundle)


def read_sentence(encoder: TextEncoder, text: str) -> TextQuery:
    """Read a phrase as a whole, by the text tower of a model."""
    reading = encoder.read(text)
    read = Sentence(text, reading.read, reading.cut, reading.unknown)
    return _text_query(read, reading.outputs, encoder.bundle)


def _text_query(phrase: Phrase | Sentence, outputs: NDArray[np.float32], bundle: Bundle) -> TextQuery:
    if not outputs.any():
        raise QueryError(f"the model {bundle.name!r} tells nothing about {phrase.summary()}")
    return TextQuery(phrase, outputs, bundle)


@dataclass(frozen=True)
class TextQuery:
    """A phrase, how it was read, and its outputs: a real number per bit."""

    phrase: Phrase | Sentence
    outputs: NDArray[np.float32]
    bundle: Bundle

    @property
    def code(self) -> Codes:
        """The signs of the outputs: a code like any other, with distances to pictures."""
        return Codes.from_outputs(self.outputs, self.bundle.grains)

    def with_picture(self, picture: Codes) -> TextQuery:
        """The phrase and a picture together, with equal weight."""
        bits = picture.bits()[0] * np.float32(2) - 1
        both = bits / np.linalg.norm(bits) + self.outputs / np.linalg.norm(self.outputs)
        return replace(self, outputs=both)

    def ask(
        self, snapshot: Snapshot, engine: Engine, question: Question, clock: Clock, itself: int | None = None
    ) -> Explained:
        """The pictures that agree best with it at the grain, without the item `itself`, which is the picture. Given a
        distance, the nearest of those within it."""
        if not self.outputs[: self.bundle.grains.width(question.grain)].any():
            raise QueryError(
                f"the model {self.bundle.name!r} tells nothing about {self.phrase.summary()} at {question.grain};"
                " ask at another grain"
            )
        more = int(itself is not None)
        if question.within is None:
            ids, parts, cost, total = self._best(snapshot, engine, question, question.k + more, clock)
        else:
            asked = question if question.min_score is None else replace(question, k=max(1, len(snapshot)))
            (near,) = ask(snapshot, engine, self.code, asked, clock, more)
            ids, parts, cost, total = near.ids, near.parts, near.cost, near.total
        wanted = [place for place, each in enumerate(ids) if each != itself]
        if question.min_score is None or question.within is None:  # else the order is not that of the scores
            wanted = wanted[: question.k]
        numbers = None if parts is None else parts[wanted].tolist()
        hits = self._hits(snapshot, ids[wanted].tolist(), numbers, question.grain)
        total -= int(itself is not None and itself in ids)
        if question.min_score is not None:
            likely = [hit for hit in hits if hit.score >= question.min_score]
            total = total if len(likely) == len(hits) else len(likely)
            hits = likely[: question.k]
        clock.stop("fetch")
        return Explained(hits, cost, len(snapshot), max(total, len(hits)), clock.seconds, self.phrase)

    def _hits(self, snapshot: Snapshot, ids: list[int], numbers: list[int] | None, grain: str) -> list[Hit]:
        """Hits without words and probabilities, which are calibrated on pairs of pictures. The score is the share of
        the outputs up to the grain, by absolute value, with which the code of the picture or part agrees."""
        words, parts = codes_of(snapshot, ids, numbers)
        hits = make_hits(self.code, snapshot.items(ids), words, grain, self.bundle, parts)
        grains = self.bundle.grains
        sure = np.abs(self.outputs[: grains[grain]]).astype(np.float64)
        differing = Codes(words ^ self.code.words[0], grains).at(grain).bits()
        scores = 1 - differing @ sure / sure.sum()
        return [replace(hit, word="", score=round(float(score), 4)) for hit, score in zip(hits, scores, strict=True)]

    def _best(
        self, snapshot: Snapshot, engine: Engine, question: Question, k: int, clock: Clock
    ) -> tuple[Ids, Ids | None, Cost, int]:
        allowed = allowed_by(snapshot, engine, question)
        clock.stop("filter")
        best, cost = engine.agreeing(self.outputs, k, grain=question.grain, where=allowed, **parts_option(question))
        snapshot.check_segments()
        clock.stop("search")
        return best.ids, best.parts, cost, len(best.ids)
