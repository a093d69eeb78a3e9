"""Meanings as weights over the classes of a network, with a confidence.

There are three cases, in order of preference. Classes below the meaning get equal weights (dog: all breeds). Else a
class above it represents it (a breed that is not a class: dog). Else the most similar classes do, by their place in
the hierarchy (Lin, 1998), their glosses and their names.
"""

from __future__ import annotations

import collections
import itertools
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hashgrain.learn.words.wordnet import WordNet

Weights = NDArray[np.float64]

GLOSS, NAMES = 0.5, 0.5  # weights of the similarity of glosses and of names, relative to that of places
SHARP, MOST = 0.1, 5  # temperature and number of classes of the softmax over the most similar ones
BELOW_A_CLASS, GUESSED = 0.95, 0.95  # upper bounds of their confidence
MIN_PART = 3  # letters of a part of a word
_SAYS_NOTHING = """
    the and with from that this for are was were which who whom whose what when where not has have having had been
    being its their his her your our any all some such than then them they these those used use using one two three
    four also into over under between about other another each usually often especially very more most can may
"""
STOP = frozenset(_SAYS_NOTHING.split())


@dataclass(frozen=True)
class Meaning:
    """Weights over the classes that sum to one. `known` where a class is below or above."""

    weights: Weights
    sure: float
    known: bool


class Meanings:
    """Every meaning of WordNet over classes given by their offsets."""

    def __init__(self, wordnet: WordNet, classes: Sequence[str]) -> None:
        self.wordnet = wordnet
        self.place = {offset: c for c, offset in enumerate(classes)}
        self.below: dict[str, list[int]] = collections.defaultdict(list)
        for c, offset in enumerate(classes):
            for above in wordnet.closure(offset):
                self.below[above].append(c)
        self._information = _information(wordnet)
        self._of_classes = np.array([self._information[offset] for offset in classes])
        self._glosses = _Glosses(wordnet, classes)
        self._names = [[spoken(lemma) for lemma in wordnet.synsets[offset].lemmas] for offset in classes]
        self._parts = _parts_of_names(self._names, frozenset(wordnet.senses))

    def is_seen(self, offset: str) -> bool:
        """Whether a picture can show it: a physical thing, or anything above a class, such as a menu."""
        below_something = bool(self.wordnet.synsets[offset].above)
        return below_something and (self.wordnet.is_physical(offset) or bool(self.below.get(offset)))

    def of(self, offset: str) -> Meaning:
        weights = np.zeros(len(self._names))
        if offset in self.below:
            weights[self.below[offset]] = 1 / len(self.below[offset])
            return Meaning(weights, 1.0, True)
        above = [self.place[each] for each in self.wordnet.closure(offset) if each in self.place]
        if above:
            weights[above] = 1 / len(above)
            return Meaning(weights, BELOW_A_CLASS, True)
        alike = self.likeness(offset)
        best = np.argsort(-alike, kind="stable")[:MOST]
        shares = np.exp((alike[best] - alike[best[0]]) / SHARP)
        weights[best] = shares / shares.sum()
        return Meaning(weights, min(GUESSED, float(alike[best[0]])), False)

    def of_things(self, names: Iterable[str]) -> Meaning:
        """A meaning with equal weights for the classes with these first names."""
        weights = np.isin([first for first, *_ in self._names], list(names)).astype(np.float64)
        return Meaning(weights / weights.sum(), GUESSED, False)

    def has_things(self, names: Iterable[str]) -> bool:
        return set(names) <= {first for first, *_ in self._names}

    def likeness(self, offset: str) -> Weights:
        """The similarity to each class, by place, gloss and names."""
        alike = self.lin(offset) + GLOSS * self._glosses.cosine(offset)
        for name in map(spoken, self.wordnet.synsets[offset].lemmas):
            alike[self._parts.get(name, [])] += NAMES
        return alike

    def lin(self, offset: str) -> Weights:
        """Lin's similarity to each class: 2 IC(lowest common ancestor) / (IC + IC)."""
        shared = np.zeros(len(self._names))
        for above in self.wordnet.closure(offset):
            if above in self.below:
                classes = self.below[above]
                shared[classes] = np.maximum(shared[classes], self._information[above])
        return np.asarray(2 * shared / (self._information[offset] + self._of_classes + 1e-9))


def spoken(lemma: str) -> str:
    """A name as it is written in phrases."""
    return lemma.lower().replace("_", " ").replace("-", " ")


def _information(wordnet: WordNet) -> dict[str, float]:
    """The information content of each meaning: 1 - ln(meanings below) / ln(all meanings) (Seco et al., 2004)."""
    count = collections.Counter(above for offset in wordnet.synsets for above in wordnet.closure(offset))
    whole = math.log(len(wordnet.synsets))
    return {offset: 1 - math.log(count[offset]) / whole for offset in wordnet.synsets}


def _parts_of_names(names: Sequence[Sequence[str]], nouns: frozenset[str]) -> Mapping[str, list[int]]:
    """The classes by each noun that one of their names contains: as consecutive words, or as a part of a word whose
    other part is a noun too (goldfish, snowplow, but not the rain in train)."""
    classes_of: dict[str, set[int]] = collections.defaultdict(set)
    for c, lemmas in enumerate(names):
        for part in itertools.chain.from_iterable(_contained(name, nouns) for name in lemmas):
            classes_of[part].add(c)
    return {part: sorted(classes) for part, classes in classes_of.items()}


def _contained(name: str, nouns: frozenset[str]) -> Iterator[str]:
    words = name.split()
    for first in range(len(words)):
        yield from (" ".join(words[first:last]) for last in range(first + 1, len(words) + 1))
    for cut in range(MIN_PART, len(name) - MIN_PART + 1):
        if name[:cut] in nouns and name[cut:] in nouns:
            yield from (name[:cut], name[cut:])


class _Glosses:
    """Cosine of tf-idf between names and gloss of a meaning and those of each class."""

    def __init__(self, wordnet: WordNet, classes: Sequence[str]) -> None:
        self._wordnet = wordnet
        texts = {offset: self._words(offset) for offset in wordnet.synsets}
        counts = collections.Counter(word for words in texts.values() for word in words)
        n = len(texts)
        self._rarity = {word: math.log((1 + n) / (1 + count)) + 1 for word, count in counts.items() if count > 1}
        self._columns: dict[str, Weights] = {}
        for c, offset in enumerate(classes):
            for word, weight in self._vector(offset).items():
                self._columns.setdefault(word, np.zeros(len(classes)))[c] = weight

    def cosine(self, offset: str) -> Weights:
        first = next(iter(self._columns.values()))
        total = np.zeros_like(first)
        for word, weight in self._vector(offset).items():
            if word in self._columns:
                total += weight * self._columns[word]
        return total

    def _words(self, offset: str) -> collections.Counter[str]:
        synset = self._wordnet.synsets[offset]
        text = " ".join([*(lemma.replace("_", " ") for lemma in synset.lemmas), synset.gloss]).lower()
        return collections.Counter(word for word in re.findall("[a-z]{3,}", text) if word not in STOP)

    def _vector(self, offset: str) -> dict[str, float]:
        words = self._words(offset)
        raw = {w: (1 + math.log(k)) * self._rarity[w] for w, k in words.items() if w in self._rarity}
        length = math.sqrt(sum(weight * weight for weight in raw.values())) or 1.0
        return {word: weight / length for word, weight in raw.items()}
