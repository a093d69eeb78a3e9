"""Words of an adapted model: the calibration of distances on held-out pictures, and words as queries.

A word is calibrated only with enough pairs of pictures to bound its error rate: 3 / p pairs, none of them wrong, bound
it by p with a confidence of 95 % (the rule of three).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hashgrain.codes import Codes, Grains
from hashgrain.evaluate.near_copies import MILD
from hashgrain.learn.data.grain_labels import GrainLabels
from hashgrain.learn.export import share_label
from hashgrain.learn.photo.calibrate import (
    FALSE_ALARMS,
    distances_between,
    largest_within,
    probabilities,
)
from hashgrain.media import open_picture
from hashgrain.models import Bundle, Calibration, Encoder
from hashgrain.models.probabilities import Distances, Pairs
from hashgrain.models.text import KEY, describe_table, read_table

ENOUGH = 3  # divided by the share of false alarms: the pairs that a word takes
EDITED = 48  # pictures that mild edits are made of
EDITS_VERSION = 1  # raise it when an edit, or `edits_of`, makes other pixels: it is in the keys of cached rows
TWICE = 2  # they are edited at twice the model's size
RIDGE = 0.3  # beside bits, whose variance is at most 1
MOST = 1_500  # pictures whose pairs are all measured; pairs with other pictures are limited to the same number


@dataclass(frozen=True, eq=False)
class Measured:
    """Codes of held-out pictures with their labels, of training pictures, and of edits of some held-out pictures."""

    validation: Codes
    levels: Mapping[str, GrainLabels]
    others: Codes
    whole: Codes
    edits: Sequence[Codes]  # each of all the pictures of `whole`


def calibrated(measured: Measured, grains: Grains) -> tuple[dict[str, Calibration], list[str]]:
    """The calibration of each grain that labels teach and of the finest, where there are enough pairs; and one line for
    each grain with missing words, which says why."""
    calibrations, reasons = {}, []
    for grain in grains:
        pairs = _pairs(measured, grain, grains)
        if why := _why_none(measured, grain, pairs):
            reasons.append(f"{grain} has no words and no scores: {why}")
            continue
        assert pairs is not None
        strangers = _strangers(measured, grain)
        words: dict[str, int] = {}
        missing = []
        for word, share in FALSE_ALARMS.items():
            wrong = strangers if word == "same" else pairs.apart
            if len(wrong) >= ENOUGH / share:
                most = largest_within(wrong, grains[grain], share)
                words[word] = max(most, *words.values()) if words else most
            else:
                missing.append(f"{word} ({len(wrong):,} pairs that must not be called so, of {ENOUGH / share:,.0f})")
        calibrations[grain] = Calibration(words, probabilities(pairs, grains[grain]))
        if missing:
            reasons.append(f"{grain} never says {' or '.join(missing)}: that takes more pictures kept out")
    return calibrations, reasons


def _why_none(measured: Measured, grain: str, pairs: Pairs | None) -> str:
    """Why a grain cannot be calibrated; "" if it can."""
    count = len(measured.validation)
    if pairs is None:
        unlabelled = "no label teaches it, and " if grain not in measured.levels else ""
        return f"{unlabelled}{count} pictures kept out are too few to make near copies of"
    least = round(ENOUGH / FALSE_ALARMS["related"])
    if len(pairs.apart) < least:
        return f"{count} pictures kept out make {len(pairs.apart):,} pairs of different classes, and it takes {least:,}"
    return "" if len(pairs.together) else f"no two of the {count} pictures kept out belong together"


def _pairs(measured: Measured, grain: str, grains: Grains) -> Pairs | None:
    """Pairs of the same and of different classes; for the finest grain, pairs of edit and original and other pairs."""
    if grain == grains.finest and grain not in measured.levels and measured.edits:
        whole = measured.whole.at(grain)
        own = [distances_between(edit.at(grain), whole) for edit in measured.edits]
        return Pairs(np.concatenate(own), _strangers(measured, grain))
    if grain not in measured.levels:
        return None
    validation = measured.validation.at(grain)
    left, right = np.triu_indices(min(len(validation), MOST), 1)
    distances = distances_between(validation[left], validation[right])
    same = share_label(measured.levels[grain], left, right)
    return Pairs(distances[same], distances[~same])


def _strangers(measured: Measured, grain: str) -> Distances:
    """Distances of different pictures, at least one of each pair held out."""
    validation = measured.validation.at(grain)[:MOST]
    others = measured.others.at(grain)[: MOST * MOST // max(1, len(validation))]
    left, right = np.triu_indices(len(validation), 1)
    across = np.indices((len(validation), len(others))).reshape(2, -1)
    return np.concatenate(
        [
            distances_between(validation[left], validation[right]),
            distances_between(validation[across[0]], others[across[1]]),
        ]
    )


def edits_of(content: bytes, encoder: Encoder) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """The mild edits of a picture by name, as the model takes them."""
    picture = Image.fromarray(open_picture(content, edge=TWICE * max(encoder.bundle.size)).pixels)
    for name, change in MILD.items():
        yield name, encoder.open(change(picture)).pixels


def reads_words(bundle: Bundle) -> bool:
    """Whether the model can be searched by phrases, with a table or with its own text tower."""
    return KEY in bundle.others or bundle.text_tower is not None


def queries_in_words(base: Bundle, before: Codes, after: Codes) -> dict[str, Any]:
    """The `text` entry of model.json for the new bits, from that of the base model; {} where it has none.

    The score of a class is `row @ bits`. The new row over the new bits is fitted to the old row's scores over the old
    bits of these pictures, by ridge regression towards the old row: in directions without data, and for unchanged bits,
    it stays the old row.
    """
    table = read_table(base.others, base.grains.bits, base.name)
    if table is None:
        return {}
    old, new = (each.bits().astype(np.float32) * 2 - 1 for each in (before, after))
    old, new = old - old.mean(axis=0), new - new.mean(axis=0)
    ridge = RIDGE * np.eye(base.grains.bits, dtype=np.float32)
    rows = np.linalg.solve(new.T @ new / len(new) + ridge, (new.T @ old / len(new) + ridge) @ table.T).T
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    wanted = np.linalg.norm(table, axis=1, keepdims=True)
    rows *= wanted / np.maximum(lengths, 1e-9)
    return {KEY: describe_table(rows / max(1.0, float(np.abs(rows).max())))}  # a bundle's rows stay within 1
