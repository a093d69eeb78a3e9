"""The vote of the nearest labelled items, which `tag` and `classify` share.

The k nearest labelled items vote, each with the probability that it belongs with the item in question: the model's
calibration of its distance, or the share of equal bits if the model has none. The confidence of a label is the share of
the votes for it. A vote of one in all is the least: where the nearest items are far, no label gets a high confidence.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import fsum
from statistics import median

import numpy as np
from numpy.typing import NDArray

from hashgrain.apps.labels import LabelledItems, Labels
from hashgrain.codes import Codes
from hashgrain.errors import QueryError
from hashgrain.hamming import nearest, rows_of
from hashgrain.models import Bundle
from hashgrain.models.probabilities import expected_calibration_error
from hashgrain.search.calibration import calibrations_of

USUAL_K = 10
MOST_ASKED = 10_000  # labelled items that leave-one-out asks; of more, so many, evenly spread
AT_ONCE = 4_096  # codes that are searched together


@dataclass(frozen=True)
class Vote:
    """A label, and its share of the votes."""

    label: str
    confidence: float


Ballot = tuple[Vote, ...]  # the most confident first


@dataclass(frozen=True, eq=False)
class Voters:
    """Labelled codes, ordered by id, and how much a vote weighs at each distance."""

    codes: Codes
    labels: Sequence[Labels]
    grain: str
    k: int
    weights: NDArray[np.float64]

    def ask(self, codes: Codes) -> Iterator[Ballot]:
        """What the voters say of each code."""
        for _, ids, distances in self._nearest(codes, self.k):
            yield self._count(ids, distances)

    def ask_rest(self, rows: NDArray[np.int64]) -> Iterator[Ballot]:
        """What the voters say of some of themselves, each asked of all the others."""
        for place, ids, distances in self._nearest(self.codes[rows], self.k + 1):
            rest = np.flatnonzero(ids != rows[place])[: self.k]  # more than k equal codes may crowd it out
            yield self._count(ids[rest], distances[rest])

    def _nearest(self, codes: Codes, k: int) -> Iterator[tuple[int, NDArray[np.int64], NDArray[np.int64]]]:
        """Of each code its place, and the rows and distances of the nearest voters; ties by the whole code, then id."""
        rows = [rows_of(self.codes.words)]
        bits = codes.grains.width(self.grain)
        for start in range(0, len(codes), AT_ONCE):
            neighbors = nearest(codes.words[start : start + AT_ONCE], rows, k, bits=bits)
            for place, near in enumerate(neighbors, start):
                yield place, near.ids, near.distances.astype(np.int64)

    def _count(self, rows: NDArray[np.int64], distances: NDArray[np.int64]) -> Ballot:
        weights = self.weights[distances].tolist()
        votes: dict[str, list[float]] = {}
        for row, weight in zip(rows.tolist(), weights, strict=True):
            for label in self.labels[row]:
                votes.setdefault(label, []).append(weight)
        # fsum gives equal votes in any order equal sums. Their labels stay in the order of their nearest voters.
        whole = max(1.0, fsum(weights))
        sums = sorted(((label, fsum(heard)) for label, heard in votes.items()), key=lambda item: -item[1])
        return tuple(Vote(label, heard / whole) for label, heard in sums)


def voters_of(labelled: LabelledItems, bundle: Bundle, grain: str, k: int | None) -> Voters:
    """The labelled items as voters; each must have k others to be asked of itself."""
    return Voters(labelled.codes, labelled.labels, grain, check_votes(k, labelled.labels), weights_at(bundle, grain))


def check_votes(k: int | None, labels: Sequence[Labels]) -> int:
    """How many neighbors vote: without a number, ten, but no more than the median number of items with a label. Most of
    a larger number would have other labels whatever the picture is."""
    labelled, most = len(labels), len(labels) - 1
    if k is None:
        counts = Counter(label for own in labels for label in own)
        return max(1, min(USUAL_K, most, int(median(counts.values()))))
    if isinstance(k, bool) or not isinstance(k, int) or k < 1:
        raise QueryError(f"k is {k!r}; it is how many neighbors vote, 1 or more")
    if k > most:
        raise QueryError(
            f"k is {k}, but only {labelled} items have labels, and each is asked of the others: at most {most}"
        )
    return k


def weights_at(bundle: Bundle, grain: str) -> NDArray[np.float64]:
    """The weight of a vote at each distance: the calibrated probability, or the share of equal bits."""
    calibration, bits = calibrations_of(bundle, grain)[0], bundle.grains.width(grain)
    if calibration is None:
        return 1 - np.arange(bits + 1) / bits
    return np.array(calibration.probabilities, np.float64)


@dataclass(frozen=True, eq=False)
class LeaveOneOut:
    """What the others say of each labelled item, or of some of them."""

    rows: NDArray[np.int64]
    ballots: Sequence[Ballot]
    right: NDArray[np.bool_]  # whether the first label is one that the item has

    @property
    def accuracy(self) -> float:
        return float(self.right.mean())

    @property
    def calibration_error(self) -> float:
        return expected_calibration_error(np.array([ballot[0].confidence for ballot in self.ballots]), self.right)


def leave_one_out(voters: Voters) -> LeaveOneOut:
    """Ask the labelled items of each other. Of very many, some are asked of all others."""
    count = len(voters.codes)
    rows = np.unique(np.linspace(0, count - 1, min(count, MOST_ASKED)).round().astype(np.int64))
    ballots = list(voters.ask_rest(rows))
    right = [ballot[0].label in voters.labels[row] for row, ballot in zip(rows.tolist(), ballots, strict=True)]
    return LeaveOneOut(rows, ballots, np.array(right, np.bool_))
