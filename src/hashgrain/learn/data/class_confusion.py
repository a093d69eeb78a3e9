"""How alike classes are, learnt from the features of their pictures."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hashgrain.learn.data.labelled import GrainLabels
from hashgrain.learn.losses.classification import label_cross_entropy

DECAY = 1e-3
RATE = 0.02


def learnt_similarities(features: Tensor, labels: GrainLabels, *, steps: int = 100) -> NDArray[np.float64]:
    """(classes, classes) how often a linear classifier of the features mistakes one class for another (SHC, 2025).

    Of the pictures of a class the mean over softmax of the scores of the other classes, the own one left out; the mean
    of both ways; shifted and scaled so that the mean of all pairs is 0 and the farthest from it 1 or -1. A mean, not
    the sum that the authors' code takes: classes of many pictures are not more alike for that.
    """
    names, truth = len(labels.names), torch.from_numpy(labels.hot(np.arange(len(labels.ids))))
    if names < 3:
        return np.eye(names)
    spread, mean = torch.std_mean(features, dim=0)
    seen = (features - mean) / (spread + 1e-3 * spread.mean() + 1e-6)
    weight = torch.zeros(seen.shape[1] + 1, names, requires_grad=True)
    optimizer = torch.optim.Adam([weight], RATE)
    for _ in range(steps):
        optimizer.zero_grad()
        loss = label_cross_entropy(seen @ weight[:-1] + weight[-1], truth) + DECAY * weight.square().sum()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    scores = (seen @ weight[:-1] + weight[-1]).detach()
    mistaken = torch.zeros(names, names)
    for own in range(names):
        others = scores[truth[:, own] > 0].clone()
        others[:, own] = -torch.inf
        mistaken[own] = others.softmax(dim=1).sum(dim=0) / max(1, len(others))
    both = ((mistaken + mistaken.T) / 2).double().numpy()
    apart = ~np.eye(names, dtype=bool)
    both -= both[apart].mean()
    both /= max(float(np.abs(both[apart]).max()), 1e-12)
    return np.asarray(np.where(apart, both, 1.0), np.float64)
