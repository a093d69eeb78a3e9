"""The labels nearest to a code, by a model that knows words: which things the code says are in the picture."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from hashgrain.codes import Codes
from hashgrain.errors import BundleError, CodesError
from hashgrain.models.bundle import Bundle
from hashgrain.models.dictionary import dictionary
from hashgrain.models.text import read_table


def nearest_labels(bundle: Bundle, code: Codes, count: int = 3) -> list[str]:
    """The labels that agree best with one code, the best first; none where the model has no labels and no words.

    A model's own labels have a code each, at the finest grain that has labels: the nearest count. Otherwise the table
    of its words scores the classes of ImageNet, by the cosine with the bits.
    """
    for grain in reversed([*bundle.grains]):
        if labels := bundle.labels.get(grain):
            return _nearest(code.at(grain), labels, bundle, count)
    table = read_table(bundle.others, bundle.grains.bits, bundle.name)
    if table is None:
        return []
    rows = table - table.mean(axis=0)
    bits = code.bits()[0] * np.float32(2) - 1
    scores = rows @ bits / np.maximum(np.linalg.norm(rows, axis=1), 1e-9)
    names = dictionary().class_names
    return [names[place] for place in _first(-scores, count)]


def _nearest(code: Codes, labels: Mapping[str, str], bundle: Bundle, count: int) -> list[str]:
    names, rows = list(labels), []
    for name, text in labels.items():
        try:
            rows.append(Codes.from_bytes(np.frombuffer(bytes.fromhex(text), np.uint8)[None], code.grains).words[0])
        except (CodesError, ValueError, TypeError):
            raise BundleError(
                f"the model {bundle.name!r} has a code for {name!r:.60} that does not fit; get the bundle again"
            ) from None
    distances = np.bitwise_count(np.stack(rows) ^ code.words).sum(axis=1).astype(np.float64)
    return [names[place] for place in _first(distances, count)]


def _first(order: NDArray[np.floating], count: int) -> list[int]:
    """The places of the smallest numbers, the first of equal ones first."""
    return [int(place) for place in np.argsort(order, kind="stable")[:count]]
