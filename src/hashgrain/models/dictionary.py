"""The nouns of English, each with weights over the 1,000 classes of ImageNet; made from WordNet by `make words`.

The tables are read on first use. A noun has senses, the most frequent first; a sense names a meaning; a meaning is a
run of classes with their shares, in 255ths of the largest.
"""

from __future__ import annotations

import functools
import io
import itertools
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hashgrain import files
from hashgrain.errors import BundleError

TABLES = Path(__file__).parent / "words" / "nouns.npz"
CLASSES = 1000
LEVELS = 255  # of shares and of the confidence in a meaning
MAX_BYTES = 8 << 20
LATER_SENSE = 0.6  # weight of each sense, relative to the one before
A_CLASS = 0.5  # least weight of a sense that is a class, if the first sense is only guessed
TRUST = 4  # a meaning is weighted by its confidence to this power
# Ends of plurals with what the singular has instead, as WordNet's own morphology.
PLURALS = (("ies", "y"), ("ches", "ch"), ("shes", "sh"), ("xes", "x"), ("ses", "s"), ("zes", "z"), ("men", "man"))
SHOWN = 3  # classes that show how a noun was read

NounTables = Mapping[str, NDArray[np.generic]]


@dataclass(frozen=True)
class Noun:
    """A noun and what it looks like. `guessed`: no class is it, or above or below it."""

    name: str
    weights: NDArray[np.float32]
    sure: float
    guessed: bool
    rarely: bool  # more often a verb or an adjective than a noun
    classes: tuple[str, ...]  # those that count most


class Dictionary:
    """Nouns by name. Names of several words have spaces between them."""

    def __init__(self, arrays: NounTables) -> None:
        self._numbers = dict(zip(_texts(arrays["nouns"]), itertools.count()))
        self._irregular: dict[str, str] = dict(zip(*[iter(_texts(arrays["plurals"]))] * 2, strict=True))
        self._others = frozenset(_texts(arrays["others"]))
        self._classes = _texts(arrays["classes"])
        self._rarely = arrays["rarely"]
        self._first_sense = _starts(arrays["senses_of"])
        self._senses = arrays["senses"]
        self._first_share = _starts(arrays["classes_of"])
        self._sure, self._guessed, self._is_class = arrays["sure"], arrays["guessed"], arrays["is_class"]
        self._of, self._shares = arrays["class"], arrays["share"]

    @property
    def class_names(self) -> list[str]:
        """A name of each class of ImageNet, in their order."""
        return list(self._classes)

    def base(self, word: str) -> str | None:
        """The noun of which a word, or several with spaces between, is a form."""
        if word in self._numbers:
            return word
        if self._irregular.get(word) in self._numbers:
            return self._irregular[word]
        for ending, singular in (*PLURALS, ("s", "")):
            if word.endswith(ending) and word[: -len(ending)] + singular in self._numbers:
                return word[: -len(ending)] + singular
        joined = word.replace(" ", "")  # "light house"
        return joined if len(joined) > 5 and joined in self._numbers else None

    def is_other(self, word: str) -> bool:
        """Whether it is a word, and no noun: an adjective, a verb, an adverb, or a form of one."""
        for ending in ("", "s", "es", "ed", "d", "ing", "er", "r", "est", "st"):
            stem = word[: len(word) - len(ending)] if word.endswith(ending) else ""
            doubled = len(stem) > 3 and stem[-1] == stem[-2] and stem[:-1] in self._others
            if stem in self._others or doubled or (ending == "ing" and stem + "e" in self._others):
                return True
        return False

    def is_seen(self, noun: str) -> bool:
        """Whether any of its senses is a thing that pictures show."""
        number = self._numbers[noun]
        return bool(self._first_sense[number] < self._first_sense[number + 1])

    def look_up(self, noun: str) -> Noun:
        """What a noun looks like; all its senses together, the first counting most. It must be one that is seen."""
        number = self._numbers[noun]
        total, counted, sure = np.zeros(CLASSES), 0.0, 0.0
        heaviest, guessed = 0.0, True
        senses = self._senses[self._first_sense[number] : self._first_sense[number + 1]]
        floor = A_CLASS if self._guessed[senses[0]] else 0.0
        for rank, meaning in enumerate(senses):
            believed = float(self._sure[meaning]) / LEVELS
            counts = max(LATER_SENSE**rank, floor if self._is_class[meaning] else 0.0) * believed**TRUST
            total += counts * self._weights(int(meaning))
            counted += counts
            sure = max(sure, believed)
            if counts > heaviest:
                heaviest, guessed = counts, bool(self._guessed[meaning])
        weights = (total / max(counted, 1e-9)).astype(np.float32)
        best = np.argsort(-weights, kind="stable")[:SHOWN]
        classes = tuple(self._classes[c] for c in best if weights[c] > 0)
        return Noun(noun, weights, sure, guessed, bool(self._rarely[number]), classes)

    def _weights(self, meaning: int) -> NDArray[np.float64]:
        run = slice(self._first_share[meaning], self._first_share[meaning + 1])
        weights = np.zeros(CLASSES)
        weights[self._of[run]] = self._shares[run]
        return np.asarray(weights / weights.sum())


@functools.cache
def dictionary() -> Dictionary:
    """The one that ships."""
    try:
        with np.load(io.BytesIO(files.read_regular(TABLES, MAX_BYTES)), allow_pickle=False) as arrays:
            return Dictionary({name: arrays[name] for name in arrays.files})
    except (OSError, ValueError, KeyError, zipfile.BadZipFile, EOFError) as error:
        raise BundleError(
            f"the dictionary {TABLES} cannot be used ({error})",
            path=TABLES,
            remedy="install hashgrain again to search by words",
        ) from error


def _texts(blob: NDArray[np.generic]) -> list[str]:
    return bytes(blob).decode().split("\n")


def _starts(counts: NDArray[np.generic]) -> NDArray[np.int64]:
    """Where each run begins, and the end of the last."""
    return np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])
