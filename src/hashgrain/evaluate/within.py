"""Figures within a Hamming radius. Ties do not matter: an item is within the radius or not.

An empty ball has precision 0, the usual convention; `hit_rate_within` shows how often that happens. Each function
gives (queries, bins): the figure for every radius from 0 on.
"""

from __future__ import annotations

import numpy as np

from hashgrain.evaluate.counting import Tally
from hashgrain.evaluate.hypergeometric import Floats
from hashgrain.evaluate.ranking import precision_sum


def precision_within(tally: Tally) -> Floats:
    """The share of relevant items inside each radius."""
    return np.asarray(np.cumsum(tally.good, axis=1) / np.maximum(1, np.cumsum(tally.all, axis=1)))


def recall_within(tally: Tally) -> Floats:
    """The share of all relevant items that lie inside each radius."""
    return np.asarray(np.cumsum(tally.good, axis=1) / np.maximum(1, tally.relevant)[:, None])


def hit_rate_within(tally: Tally) -> Floats:
    """1 where a relevant item is inside each radius."""
    return np.asarray(np.cumsum(tally.good, axis=1) > 0, np.float64)


def average_precision_within(tally: Tally) -> Floats:
    """AP of the items inside each radius, divided by the relevant ones among them; an expectation over ties."""
    t = tally
    sums = np.cumsum(precision_sum(t.all, t.good, t.before, t.good_before, t.all), axis=1)
    return np.asarray(sums / np.maximum(1, np.cumsum(t.good, axis=1)))
