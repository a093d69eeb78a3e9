"""Runs a text tower: a phrase in, a real-valued code out, through a tokenizer and ONNX Runtime."""

from __future__ import annotations

import os
import unicodedata
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hashgrain.errors import BundleError, QueryError
from hashgrain.models.bundle import Bundle, check_text_graph
from hashgrain.models.session import open_text_session, run_text
from hashgrain.models.tokens import Tokenizer, require_tokenizers
from hashgrain.models.trial import check_text_by_trial

MAX_CHARACTERS = 100_000
NOT_TYPED = frozenset(["Cc", "Cf", "Cs", "Co"])  # controls, marks of direction, halves of pairs, private letters
JOINER = "\u200d"  # what joins emoji, and letters of some scripts


@dataclass(frozen=True)
class Reading:
    """How a text tower read a phrase."""

    outputs: NDArray[np.float32]  # (bits,)
    read: str  # as far as it was read
    cut: bool  # whether there was more
    known: int  # tokens that stand for a part of it
    unknown: tuple[str, ...]  # parts that the tokenizer has no token for


class TextEncoder:
    """The text tower of a bundle, ready to read phrases. Open it once; it is safe to use from several threads.

    Its graph is checked, and tried in a process of its own (once per machine), before it runs here. Its tokenizer
    always runs in a process of its own.
    """

    def __init__(self, bundle: Bundle, *, threads: int | None = None) -> None:
        if bundle.text_tower is None:
            raise BundleError(f"the model {bundle.name!r} has no text tower")
        require_tokenizers()
        check_text_graph(bundle.name, bundle.text_tower, bundle.grains.bits)
        check_text_by_trial(bundle, bundle.text_tower)
        self.bundle, self.tower = bundle, bundle.text_tower
        self._tokenizer = Tokenizer(self.tower, bundle.name)
        threads = threads or os.cpu_count() or 1
        self._session = open_text_session(self.tower.onnx, bundle.name, bundle.grains.bits, threads)

    def read(self, text: str) -> Reading:
        phrase = _cleaned(text).lower() if self.tower.lower else _cleaned(text)
        tokens = self._tokenizer.tokens(phrase)
        if not tokens.known:
            unknown = f" knows: {', '.join(part[:40] for part in tokens.unknown)}" if tokens.unknown else " can read"
            raise QueryError(f"the phrase has nothing that the model {self.bundle.name!r}{unknown}")
        outputs = run_text(self._session, self.bundle.name, tokens.ids, tokens.mask)
        return Reading(outputs, phrase[: tokens.end], tokens.cut, tokens.known, tokens.unknown)

    def close(self) -> None:
        self._tokenizer.close()


def _cleaned(text: str) -> str:
    """On one line, without what nobody types; an empty phrase is an error."""
    if not isinstance(text, str):
        raise QueryError(f"a phrase is text, not {type(text).__name__}")
    if len(text) > MAX_CHARACTERS:
        raise QueryError(f"the phrase has {len(text):,} characters; ask with at most {MAX_CHARACTERS:,}")
    typed = (each if each == JOINER or unicodedata.category(each) not in NOT_TYPED else " " for each in text)
    phrase = " ".join("".join(typed).split())
    if not phrase.strip(JOINER + " "):
        raise QueryError("the phrase has no words; ask for something that pictures show, such as: a dog in the snow")
    return phrase
