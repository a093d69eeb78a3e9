"""Similarities of classes, learned from the features of their pictures."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hashgrain.learn.data.grain_labels import GrainLabels
from hashgrain.learn.losses.classification import label_cross_entropy

DECAY = 1e-3
RATE = 0.02


def learnt_similarities(features: Tensor, labels: GrainLabels, *, steps: int = 100) -> NDArray[np.float64]:
    """(classes, classes) how often a linear classifier of the features confuses two classes (SHC, 2025).

    The softmax scores of the other classes, without the own one, are averaged over the pictures of a class, and then
    over both directions. They are shifted to mean 0 over all pairs and scaled so that the largest absolute value is 1.
    The authors' code takes a sum instead of a mean, which makes classes of many pictures more similar.
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
