"""A typed phrase as weights over the classes of ImageNet: which nouns it has, which leads, what is left out and why."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hashgrain.errors import QueryError
from hashgrain.models.chinese import HAN, chinese, is_chinese
from hashgrain.models.chinese import LITTLE as CHINESE_LITTLE
from hashgrain.models.dictionary import CLASSES, Noun, dictionary

MAX_CHARACTERS = 1000
LONGEST = 4  # words of one noun
OTHERS = 0.5  # weight of a noun that does not lead
TRUST = 2  # a noun is weighted by its confidence to this power
_WORD = re.compile(rf"[{HAN}]+|[^\W_{HAN}]+(?:['-][^\W_{HAN}]+)*|[^\w\s]")
_TELLING = """
    of in on with for at from by near behind beside under over above against to through
"""
_AFTER_HEAD = frozenset(_TELLING.split())
_JOINING = frozenset(["and", "or", ",", "&", "+", "和", "与", "、"])
_COLORED = """
    red green blue yellow white black brown grey gray pink purple violet orange gold golden silver beige turquoise
    crimson scarlet maroon navy cyan magenta colorful colourful colored coloured
"""
_COLORS = frozenset(_COLORED.split())
_THINGS_TOO = frozenset(["orange", "gold", "silver"])  # colors only before a noun
_FUNCTION = """
    a an the this that these those some any no not very more most and or but nor of in on at with for to from by near
    behind beside between under over above below against through into onto off out up down about around across along
    is are was were be been being am has have had do does did can could will would may might must shall should i you
    he she it we they me him her us them my your his its our their mine who whom whose which what where when why how
    there here one two three four five six seven eight nine ten zero couple several many few lot lots all both each
    every other another same such as than then so too also just only if while during like
"""
_LITTLE = frozenset(_FUNCTION.split())
_NO_THING = _LITTLE | (_COLORS - _THINGS_TOO)
# These say how something is shown, or how much of it; they count as nouns only if no other noun is there.
_FRAMING = """
    picture pictures image images photo photos photograph photographs snapshot view top side back front part piece
    pieces pair pairs bunch pile row stack set kind type sort group bit slice lots drawing painting close closeup
    background foreground scene thing things stuff
"""
_FRAMES = frozenset(_FRAMING.split())
_MARKS = frozenset(["sign", "symbol", "mark", "face"])  # what Unicode calls marks that show no thing


@dataclass(frozen=True)
class PhraseNoun:
    """A noun of the phrase: as it was typed, as it was read, and the classes it stands for most."""

    typed: str
    noun: str
    classes: tuple[str, ...]
    guessed: bool  # no class is it, above it or below it: the most similar ones are taken


@dataclass(frozen=True)
class Phrase:
    """How a phrase was read. `weights` over the classes sum to one; None where nothing in it can be seen."""

    text: str
    weights: NDArray[np.float32] | None
    nouns: tuple[PhraseNoun, ...] = ()
    ignored: tuple[str, ...] = ()  # words that say nothing here: "the", colors, adjectives, verbs
    unknown: tuple[str, ...] = ()  # not in the dictionary
    not_seen: tuple[str, ...] = ()  # nouns of things that no picture shows

    def summary(self) -> str:
        """How it was read, in one line."""
        parts = [", ".join(map(_noun_summary, self.nouns)) or "nothing that can be searched for"]
        for what, words in (("ignored", self.ignored), ("unknown", self.unknown)):
            parts += [f"{what}: {', '.join(words)}"] if words else []
        parts += [f"not a thing that can be seen: {', '.join(self.not_seen)}"] if self.not_seen else []
        return "; ".join(parts)

    def as_dict(self) -> dict[str, object]:
        return {
            "text": self.text,
            "found": [
                {"typed": one.typed, "noun": one.noun, "classes": list(one.classes), "guessed": one.guessed}
                for one in self.nouns
            ],
            "ignored": list(self.ignored),
            "unknown": list(self.unknown),
            "not_seen": list(self.not_seen),
        }


def read_phrase(text: str) -> Phrase:
    """Read a phrase; an empty one, or one without end, is an error."""
    if not isinstance(text, str):
        raise QueryError(f"a phrase is text, not {type(text).__name__}")
    if len(text) > MAX_CHARACTERS:
        raise QueryError(f"the phrase has {len(text):,} characters; ask with at most {MAX_CHARACTERS:,}")
    words = _words(text)
    if all(not any(map(str.isalnum, word)) and _says_nothing(word) for word in words):
        raise QueryError("the phrase has no words; ask for something that pictures show, such as: a dog in the snow")
    return _read(text, words)


def _read(text: str, words: Sequence[str]) -> Phrase:
    nouns: list[tuple[int, str, Noun]] = []
    ignored: list[str] = []
    unknown: list[str] = []
    not_seen: list[str] = []
    at = 0
    while at < len(words):
        word, read, length = _longest(words, at)
        if _says_nothing(word) or _is_color(words, at, length) or (is_chinese(word) and read in _NO_THING):
            ignored += [word] if word.isalnum() else []
        elif read is not None and dictionary().is_seen(read):
            nouns += [(at, word, dictionary().look_up(read))] if read not in {noun.name for _, _, noun in nouns} else []
        elif read is not None:
            not_seen.append(word)
        elif _is_other(word):
            ignored.append(word)
        else:
            unknown.append(word)
        at += length
    for says_little in (_is_frame, _is_hardly_noun):
        rest = [one for one in nouns if not says_little(*one)]
        if rest:
            ignored += [word for at, word, noun in nouns if says_little(at, word, noun)]
            nouns = rest
    phrase_nouns = tuple(PhraseNoun(word, noun.name, noun.classes, noun.guessed) for _, word, noun in nouns)
    return Phrase(text, _mixed(words, nouns), phrase_nouns, *map(_once, (ignored, unknown, not_seen)))


def _is_frame(at: int, word: str, noun: Noun) -> bool:
    return bool(_FRAMES & {word, noun.name})


def _is_hardly_noun(at: int, word: str, noun: Noun) -> bool:
    """Such as go or stop: a verb here, where anything else is found."""
    return noun.guessed and noun.rarely


def _longest(words: Sequence[str], at: int) -> tuple[str, str | None, int]:
    """What begins here: the longest noun that is seen, else one word; its base, and its number of words.

    A color makes no name of what would be guessed: a yellow flag is a flag, though it is an iris to botanists.
    """
    for length in range(min(LONGEST, len(words) - at), 1, -1):
        some = words[at : at + length]
        base = None if _says_nothing(some[0]) or _says_nothing(some[-1]) else _base(" ".join(some))
        if base is not None and dictionary().is_seen(base) and not _is_guess_by_color(some[0], base):
            return " ".join(some), base, length
    return words[at], None if _says_nothing(words[at]) else _base(words[at]), 1


def _is_guess_by_color(first: str, base: str) -> bool:
    return first in _COLORS and dictionary().look_up(base).guessed


def _is_other(word: str) -> bool:
    """A word that is no noun, or a number."""
    if is_chinese(word):
        return chinese().is_word(word)
    return dictionary().is_other(word) or word.isdigit()


def _base(typed: str) -> str | None:
    if is_chinese(typed):
        return chinese().noun(typed)
    if len(typed) == 1 and unicodedata.category(typed) == "So":
        return _emoji(typed)
    return dictionary().base(typed.replace("-", " ")) if len(typed) > 1 else None


def _emoji(mark: str) -> str | None:
    """The noun in the name that Unicode gives it: DOG FACE, BIRTHDAY CAKE, HOUSE WITH GARDEN."""
    name = unicodedata.name(mark, "").lower().replace("-", " ")
    thing = re.split(" with | over | and | of ", name.removesuffix(" face"))[0]
    parts = [part for part in (name, thing, thing.split(" ")[-1]) if len(part) > 1 and part not in _MARKS]
    return next((base for base in map(dictionary().base, parts) if base is not None), None)


def _mixed(words: Sequence[str], nouns: Sequence[tuple[int, str, Noun]]) -> NDArray[np.float32] | None:
    """The nouns together: those that lead have weight one, the others less."""
    if not nouns:
        return None
    heads = _heads(words, [at for at, _, _ in nouns])
    mixed = np.zeros(CLASSES, np.float32)
    for at, _, noun in nouns:
        mixed += (1.0 if at in heads else OTHERS) * noun.sure**TRUST * noun.weights
    return np.asarray(mixed / mixed.sum(), np.float32)


def _heads(words: Sequence[str], places: Sequence[int]) -> set[int]:
    """The positions of the leading nouns: before prepositions and "-ing", the last of each run that "and" joins."""
    end = next(
        (at for at in range(places[0] + 1, len(words)) if words[at] in _AFTER_HEAD or words[at].endswith("ing")),
        len(words),
    )
    led = [at for at in places if at < end]
    joined = [at for at in range(led[0], led[-1]) if words[at] in _JOINING]
    return {max(at for at in led if at < cut) for cut in (*joined, end)}


def _is_color(words: Sequence[str], at: int, length: int) -> bool:
    word = words[at]
    if is_chinese(word):
        return word.endswith("色")
    return length == 1 and word in _COLORS and (word not in _THINGS_TOO or _before_noun(words, at))


def _before_noun(words: Sequence[str], at: int) -> bool:
    following = words[at + 1] if at + 1 < len(words) else ","
    return not _says_nothing(following)


def _says_nothing(word: str) -> bool:
    """Little words and marks; of these only what stands for a thing, such as an emoji, is none."""
    if word in _LITTLE or word in CHINESE_LITTLE:
        return True
    return not any(letter.isalnum() or unicodedata.category(letter) == "So" for letter in word)


def _words(text: str) -> list[str]:
    """Words in small letters, without accents and possessive ends; other marks are words of their own."""
    letters = unicodedata.normalize("NFKD", text.replace("’", "'").lower())
    plain = "".join(" " if _is_control(letter) else letter for letter in letters if not unicodedata.combining(letter))
    words = (re.sub("'s?$", "", word) or word for word in _WORD.findall(plain))
    return [part for word in words for part in (chinese().split(word) if is_chinese(word) else [word])]


def _is_control(letter: str) -> bool:
    """Controls, marks of direction, halves of pairs: nothing that is typed."""
    return unicodedata.category(letter) in ("Cc", "Cf", "Cs", "Co", "Cn")


def _noun_summary(one: PhraseNoun) -> str:
    read = "" if one.noun == one.typed.replace("-", " ") else f" (read as {one.noun})"
    return f"{one.typed}{read}" + (f" (guessed: like {', '.join(one.classes)})" if one.guessed else "")


def _once(words: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(words))
