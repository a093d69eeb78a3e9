"""How near copies are: by a word of the calibration of the library's model, or by a number of bits."""

from __future__ import annotations

from typing import Literal

from hashgrain.errors import QueryError
from hashgrain.models import Bundle
from hashgrain.search.calibration import calibrations_of

Word = Literal["exact", "same", "near"]
WORDS: tuple[Word, ...] = ("exact", "same", "near")


def check_word(word: str) -> None:
    if word not in WORDS:
        raise QueryError(f"{word!r} is no word for how near copies are; it is {', '.join(WORDS[:-1])} or {WORDS[-1]}")


def check_within(within: int, bits: int, grain: str) -> int:
    if isinstance(within, bool) or not isinstance(within, int) or not 0 <= within <= bits:
        raise QueryError(f"a distance of {within!r} bits makes no sense at {grain}; it is from 0 to {bits}")
    return within


def distance_of(word: str, bundle: Bundle, grain: str) -> int:
    """The largest distance at which whole pictures are called so."""
    whole, _ = calibrations_of(bundle, grain)
    if whole is not None and word in whole.words:
        return whole.words[word]
    threshold = bundle.words.get(word)
    if whole is None and threshold is not None and threshold.grain == grain:
        return threshold.distance
    raise QueryError(f"the model of this library has no distance for {word!r} at {grain}; give a distance in bits")


def part_distance_of(word: str, bundle: Bundle, grain: str, otherwise: int | None) -> int:
    """The same of a part. Models that are not calibrated for parts take the distance of wholes that was given."""
    _, part = calibrations_of(bundle, grain)
    if part is not None and word in part.words:
        return part.words[word]
    if otherwise is None:
        raise QueryError(
            f"the model of this library has no distance for {word!r} of parts at {grain}; give one in bits"
        )
    return otherwise
