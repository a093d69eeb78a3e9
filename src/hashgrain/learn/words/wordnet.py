"""Reads WordNet's nouns from its own text files (wndb(5WN))."""

from __future__ import annotations

import collections
import itertools
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from hashgrain.errors import TrainingError

PHYSICAL = "00001930"  # physical_entity, in WordNet 3.0
HYPERNYM, INSTANCE = "@", "@i"


@dataclass(frozen=True)
class Synset:
    """A meaning: its names, the meanings above it, and its gloss."""

    lemmas: tuple[str, ...]
    above: tuple[str, ...]
    gloss: str


class WordNet:
    """Nouns by meaning and by name; of other words only their names."""

    def __init__(
        self,
        synsets: Mapping[str, Synset],
        senses: Mapping[str, tuple[str, ...]],
        irregular: Mapping[str, str] | None = None,
        others: frozenset[str] = frozenset(),
        rarely: frozenset[str] = frozenset(),
    ) -> None:
        self.synsets = synsets
        self.senses = senses  # of each noun, the most frequent first
        self.irregular = irregular or {}  # plural -> singular
        self.others = others  # adjectives, verbs and adverbs
        self.rarely = rarely  # nouns that are more often another part of speech, such as go
        self._closures: dict[str, frozenset[str]] = {}

    def closure(self, offset: str) -> frozenset[str]:
        """A meaning and all meanings above it."""
        if offset not in self._closures:
            above = (self.closure(each) for each in self.synsets[offset].above)
            self._closures[offset] = frozenset([offset]).union(*above)
        return self._closures[offset]

    def is_physical(self, offset: str) -> bool:
        return PHYSICAL in self.closure(offset)


def read_wordnet(folder: Path) -> WordNet:
    """Read a folder with data.noun, index.noun, noun.exc and the indexes of the other words."""
    try:
        return WordNet(
            dict(_synset(line) for line in _lines(folder / "data.noun")),
            dict(_senses(line) for line in _lines(folder / "index.noun")),
            dict(line.split()[:2] for line in _lines(folder / "noun.exc")),
            frozenset().union(*(_single(folder / f"index.{part}") for part in ("adj", "verb", "adv"))),
            _rarely(_lines(folder / "cntlist.rev")),
        )
    except (OSError, ValueError, IndexError) as error:
        raise TrainingError(f"{folder} does not hold the files of WordNet 3.0 ({error})") from error


def read_license(folder: Path) -> str:
    """The license at the start of every file: lines that begin with two blanks and a number."""
    with open(folder / "data.noun", encoding="utf-8") as file:
        lines = list(itertools.takewhile(lambda line: line.startswith("  "), file))
    return "".join(line.lstrip().partition(" ")[2].rstrip() + "\n" for line in lines)


def _lines(path: Path) -> Iterator[str]:
    """The lines of a file without its license, whose lines begin with two blanks."""
    with open(path, encoding="utf-8") as file:
        yield from (line for line in file if not line.startswith("  "))


def _synset(line: str) -> tuple[str, Synset]:
    head, _, gloss = line.partition(" | ")
    parts = head.split(" ")
    names = int(parts[3], 16)
    pointers = 5 + 2 * names
    links = [(parts[pointers + 4 * i], parts[pointers + 4 * i + 1]) for i in range(int(parts[pointers - 1]))]
    above = tuple(offset for symbol, offset in links if symbol in (HYPERNYM, INSTANCE))
    examples = gloss.find('"')
    return parts[0], Synset(
        tuple(parts[4 + 2 * i] for i in range(names)), above, gloss[: examples if examples >= 0 else None].strip()
    )


def _senses(line: str) -> tuple[str, tuple[str, ...]]:
    parts = line.split()
    return parts[0], tuple(parts[-int(parts[2]) :])


def _single(path: Path) -> frozenset[str]:
    """The single words of a part of speech."""
    return frozenset(word for word in (line.split()[0] for line in _lines(path)) if re.fullmatch("[a-z][a-z-]+", word))


def _rarely(lines: Iterable[str]) -> frozenset[str]:
    """Nouns that texts use more often as another part of speech. Lines are sense_key, sense number, count."""
    counts: collections.Counter[tuple[str, bool]] = collections.Counter()
    for key, _, count in map(str.split, lines):
        word, _, sense = key.partition("%")
        counts[word, sense.startswith("1:")] += int(count)
    return frozenset(word for word, noun in counts if not noun and counts[word, False] > counts[word, True])
