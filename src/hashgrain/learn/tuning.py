"""The last step of training: the labelled bits of the head, learned anew on frozen features.

While the backbone learns, the head aims at fixed centres, which makes good features; measured on held-out
pictures, codes lose less of those features when the head is then trained for retrieval itself. It takes seconds.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hashgrain.learn.data import LABELLED_GRAINS, Labelled
from hashgrain.learn.losses import SupervisedContrast, quantisation
from hashgrain.learn.network import HashNetwork
from hashgrain.learn.recipes import Recipe

SHARPNESS = 2.0  # outputs are of unit variance; tanh(2 x) is nearly a bit


def tune_head(network: HashNetwork, features: Tensor, data: Labelled, recipe: Recipe) -> None:
    """Retrain the bits of kind and thing, in place; those that only `look` has stay as they are."""
    how = recipe.tuning
    torch.manual_seed(recipe.seed)
    bits = [recipe.grains[grain] for grain in LABELLED_GRAINS]
    labels = [torch.from_numpy(data.labels[grain]) for grain in LABELLED_GRAINS]
    spread, mean = torch.std_mean(features, dim=0)
    plain = (features - mean) / (spread + 1e-3)
    head = nn.Linear(plain.shape[1], bits[-1], bias=False)
    normalise = nn.BatchNorm1d(bits[-1], affine=False)
    contrast = SupervisedContrast(how.temperature)
    optimiser = torch.optim.AdamW(head.parameters(), lr=how.learning_rate, weight_decay=how.weight_decay)
    batch = min(how.batch, len(plain))
    per_epoch = len(plain) // batch
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, how.learning_rate, total_steps=how.epochs * per_epoch)
    for _ in range(how.epochs):
        for rows in torch.split(torch.randperm(len(plain))[: per_epoch * batch], batch):
            outputs = normalise(head(F.dropout(plain[rows], how.dropout)))
            near_bits = torch.tanh(SHARPNESS * outputs)
            loss = how.quantisation_weight * quantisation(outputs)
            for width, column in zip(bits, labels, strict=True):
                loss = loss + contrast(near_bits[:, :width], column[rows])
            optimiser.zero_grad()
            torch.autograd.backward(loss)
            optimiser.step()
            schedule.step()
    _install(network, head.weight.detach() / (spread + 1e-3), features)


def _install(network: HashNetwork, weight: Tensor, features: Tensor) -> None:
    """Into the network's own head; each bit's threshold is the mean over the training pictures."""
    tuned = len(weight)
    variance, mean = torch.var_mean(features @ weight.T, dim=0)
    assert network.normalise.running_mean is not None
    assert network.normalise.running_var is not None
    with torch.no_grad():
        network.head.weight[:tuned] = weight
        network.normalise.running_mean[:tuned] = mean
        network.normalise.running_var[:tuned] = variance
