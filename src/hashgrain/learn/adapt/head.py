"""The head that learns classes: what it adds to the outputs of the model it begins with.

Chosen by measure among four (docs/decisions/0016-adapting.md). The model's own outputs stay, and one linear layer over
features and outputs is added to them, from nothing. It is fitted by distillation: pictures are to rank as before, but
those that share a label closer. What the pictures say nothing of is hardly moved, so the rest is not forgotten.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hashgrain.codes import Grains
from hashgrain.learn.adapt.settings import Adaptation
from hashgrain.learn.data import GrainLabels
from hashgrain.learn.distill import Material, Settings, distill

Rows = NDArray[np.float32]
COARSEST, FINER = 0.2, 0.15  # temperatures of the codes, as in learn/distill.py


@dataclass(frozen=True)
class AdaptedHead:
    """outputs = own + [u(u(features) - mean), u(own)] @ weight + bias, where u() makes rows of length 1."""

    mean: Rows  # (width,)
    weight: Rows  # (width + bits, bits), rounded to half precision, as the graph keeps it
    bias: Rows  # (bits,)

    def outputs(self, rows: Rows) -> Rows:
        """Of rows as `KeptRows` has them."""
        own = rows[:, len(self.mean) :]
        return np.asarray(own + inputs_of(rows, self.mean) @ self.weight + self.bias, np.float32)


def inputs_of(rows: Rows, mean: Rows) -> Rows:
    width = len(mean)
    return np.concatenate([unit(unit(rows[:, :width]) - mean), unit(rows[:, width:])], axis=1)


def unit(rows: Rows) -> Rows:
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9), np.float32)


def fit_head(rows: Rows, levels: Mapping[str, GrainLabels], grains: Grains, recipe: Adaptation) -> AdaptedHead:
    """The head for rows (n, features + outputs) of pictures with labels at some grains."""
    own = np.ascontiguousarray(rows[:, -grains.bits :])
    mean = unit(rows[:, : -grains.bits]).mean(axis=0)
    nothing = np.empty((0, rows.shape[1]), np.float32)
    material = Material(inputs_of(rows, mean), teachers(own, levels, grains, recipe), nothing, nothing, own)
    finer = (FINER,) * (len(grains) - 1)
    settings = Settings(
        steps=recipe.steps,
        batch=recipe.batch,
        rate=recipe.learning_rate,
        code_temperatures=(COARSEST, *finer) if finer else (FINER,),
    )
    layer = distill(material, list(grains.values()), recipe.seed, settings)
    weight = layer.weight.detach().numpy().T.astype(np.float16).astype(np.float32)
    return AdaptedHead(mean, np.ascontiguousarray(weight), layer.bias.detach().numpy())


def teachers(own: Rows, levels: Mapping[str, GrainLabels], grains: Grains, recipe: Adaptation) -> list[Rows]:
    """For each grain vectors whose cosine its bits are to rank by: the model's own outputs beside the labels.

    A grain that labels teach has its own; the finest has those of the finest labels, at less weight.
    """
    found = []
    finest = list(levels)[-1]
    for grain, bits in grains.items():
        parts = [unit(own[:, :bits])]
        taught = grain if grain in levels else finest if grain == grains.finest else None
        if taught is not None:
            weight = recipe.label_weight if taught == grain else recipe.look_weight
            labels = levels[taught]
            parts.append(weight * unit(labels.hot(np.arange(len(own)))))
        found.append(unit(np.concatenate(parts, axis=1)))
    return found
