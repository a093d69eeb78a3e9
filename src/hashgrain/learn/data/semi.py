"""Pseudo-labels for pictures without labels, for any supervised loss.

They come from the scores of a classifier, or from the labels of the nearest labelled codes. Pictures below the
threshold get a row of zeros, which every loss ignores.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from hashgrain.errors import TrainingError
from hashgrain.learn.data.grain_labels import GrainLabels
from hashgrain.learn.losses.relaxed import signs

NEIGHBORS = 10
ROWS_AT_ONCE = 1024  # of the distances to all labelled pictures


@dataclass(frozen=True)
class Guesses:
    """Pseudo-labels of n pictures, zeros where not accepted, and the accepted share."""

    hot: Tensor  # (n, classes)
    accepted: float


def guess_from_scores(scores: Tensor, *, threshold: float, single: bool) -> Guesses:
    """Classes whose score, 0 to 1, is the threshold or more (pseudo-labels, Lee, 2013; thresholds, Sohn et al., 2020).

    With `single`, each picture has one class: only the best one counts, and only if it has no tie.
    """
    if not 0 < threshold <= 1:
        raise TrainingError(f"threshold {threshold}: no score passes it, or every score does; take 0 < threshold <= 1")
    scores = scores.detach()
    if not bool(((scores >= 0) & (scores <= 1)).all()):
        raise TrainingError("scores of classes are not all from 0 to 1; pass them through softmax or sigmoid first")
    sure = scores >= threshold
    if single and scores.shape[1]:
        best = scores == scores.amax(dim=1, keepdim=True)
        sure = sure & best & (best.sum(dim=1, keepdim=True) == 1)
    accepted = sure.any(dim=1).sum().item() / max(1, len(sure))
    return Guesses(sure.to(scores.dtype), accepted)


def guess_from_neighbors(
    outputs: Tensor, labelled: Tensor, hot: Tensor, *, k: int, agreement: float, single: bool
) -> Guesses:
    """Classes of at least a share `agreement` of the k nearest labelled pictures, by Hamming distance.

    `labelled` are the outputs of the pictures whose labels are `hot`; pictures without a label do not vote. At equal
    distance the earlier picture counts as nearer, as everywhere in HashGrain.
    """
    if k < 1:
        raise TrainingError(f"k = {k}: no neighbor would vote; take 1 or more")
    known = hot.any(dim=1)
    voters, labels = signs(labelled[known]), hot[known]
    n_voters, bits = voters.shape
    if not n_voters:
        return Guesses(hot.new_zeros(len(outputs), hot.shape[1]), 0.0)
    order = torch.arange(n_voters, device=outputs.device)
    votes = []
    for some in torch.split(signs(outputs), ROWS_AT_ONCE):
        distances = ((bits - some @ voters.T) / 2).round().long()
        nearest = (distances * n_voters + order).topk(min(k, n_voters), largest=False).indices
        votes.append(labels[nearest].mean(dim=1))
    return guess_from_scores(torch.cat(votes), threshold=agreement, single=single)


def guessed_levels(
    levels: Mapping[str, GrainLabels], outputs: Tensor, widths: Mapping[str, int], agreement: float
) -> tuple[dict[str, GrainLabels], float]:
    """The labels of every grain, with pseudo-labels from the codes at that grain where there are none; and the share of
    unlabelled pictures that got one at the finest grain."""
    guessed, accepted = {}, 0.0
    for grain, labels in levels.items():
        hot = torch.from_numpy(labels.hot(np.arange(len(labels.ids))))
        prefix = outputs[:, : widths[grain]]
        unknown = torch.from_numpy(~labels.known)
        guesses = guess_from_neighbors(
            prefix[unknown], prefix, hot, k=NEIGHBORS, agreement=agreement, single=labels.single
        )
        hot[unknown] = guesses.hot
        guessed[grain], accepted = GrainLabels.of_hot(labels.names, hot.numpy()), guesses.accepted
    return guessed, accepted
