"""The head that learns classes, as a residual on the outputs of the base model.

It was chosen among four by measurement (docs/decisions/0016-adapting.md). The base model's outputs stay, and one linear
layer over features and outputs, initially zero, is added to them. It is fitted by distillation: pictures keep their
ranking, but those that share a label move closer. Directions without training pictures hardly change, so the model
does not forget other classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from hashgrain.codes import Grains
from hashgrain.hashers import Features
from hashgrain.learn.adapt.settings import Adaptation
from hashgrain.learn.data.grain_labels import GrainLabels
from hashgrain.learn.distill import Material, Settings, distill
from hashgrain.learn.photo.head import unit

TEACHER, COARSEST, FINER = 0.1, 0.2, 0.15  # temperatures of the teachers and of the codes, as in learn/distill.py


@dataclass(frozen=True)
class AdaptedHead:
    """outputs = own + [u(u(features) - mean), u(own)] @ weight + bias, where u() makes rows of length 1."""

    mean: Features  # (width,)
    weight: Features  # (width + bits, bits), rounded to half precision, as the graph keeps it
    bias: Features  # (bits,)

    def outputs(self, rows: Features) -> Features:
        """The outputs for rows of `KeptRows`."""
        own = rows[:, len(self.mean) :]
        return np.asarray(own + inputs_of(rows, self.mean) @ self.weight + self.bias, np.float32)


def inputs_of(rows: Features, mean: Features) -> Features:
    width = len(mean)
    return np.concatenate([unit(unit(rows[:, :width]) - mean), unit(rows[:, width:])], axis=1)


def fit_head(rows: Features, levels: Mapping[str, GrainLabels], grains: Grains, recipe: Adaptation) -> AdaptedHead:
    """Fit the head to rows (n, features + outputs) of pictures with labels at some grains. The bits after the finest of
    these grains identify pictures and stay unchanged."""
    own = rows[:, -grains.bits :]
    mean = unit(rows[:, : -grains.bits]).mean(axis=0)
    taught = grains.up_to(list(levels)[-1])
    nothing = np.empty((0, rows.shape[1]), np.float32)
    start = np.ascontiguousarray(own[:, : taught.bits])
    material = Material(inputs_of(rows, mean), teachers(own, levels, taught, recipe), nothing, nothing, start)
    finer = (FINER,) * (len(taught) - 1)
    settings = Settings(
        steps=recipe.steps,
        batch=recipe.batch,
        rate=recipe.learning_rate,
        teacher_temperatures=(TEACHER,) * len(taught),
        code_temperatures=(COARSEST, *finer) if finer else (FINER,),
    )
    layer = distill(material, list(taught.values()), recipe.seed, settings)
    weight, bias = np.zeros((rows.shape[1], grains.bits), np.float32), np.zeros(grains.bits, np.float32)
    weight[:, : taught.bits] = layer.weight.detach().numpy().T.astype(np.float16)
    bias[: taught.bits] = layer.bias.detach().numpy()
    return AdaptedHead(mean, weight, bias)


def teachers(own: Features, levels: Mapping[str, GrainLabels], taught: Grains, recipe: Adaptation) -> list[Features]:
    """The teacher of each grain: vectors whose cosine its bits learn to rank by. They are the model's own outputs,
    concatenated with the labels of the grain, if it has any."""
    vectors = []
    for grain, bits in taught.items():
        parts = [unit(own[:, :bits])]
        if grain in levels:
            parts.append(recipe.label_weight * unit(levels[grain].hot(np.arange(len(own)))))
        vectors.append(unit(np.concatenate(parts, axis=1)))
    return vectors
