"""Fitting the head of `photo`: what its pictures are like by distillation, which picture it is by steady directions."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from hashgrain.codes import Codes, Grains
from hashgrain.learn.distill import Material, Settings, distill
from hashgrain.learn.photo.features import Features
from hashgrain.learn.photo.graph import HeadNumbers
from hashgrain.learn.photo.head import Classifier, inputs_of, mean_root, reflected, root_of, teachers_of
from hashgrain.learn.photo.sets import FittingSets
from hashgrain.learn.photo.torch_file import tensors_of
from hashgrain.learn.steady import Steady, steady_bits

GRAINS = Grains({"kind": 48, "thing": 96, "look": 256})
ALIKE = GRAINS["thing"]  # bits that say what a picture is like; the rest say which one it is
DISTILLED = Settings(teacher_temperatures=(0.1, 0.1), code_temperatures=(0.2, 0.15))


@dataclass(frozen=True)
class Head:
    """The numbers of a head, as they will stand in the graph, and the same computation outside it."""

    numbers: HeadNumbers
    classifier: Classifier

    def outputs(self, features: Features) -> Features:
        inputs = inputs_of(features, self.numbers.mean, self.classifier)
        found: Features = inputs @ self.numbers.weight.T + self.numbers.bias
        return found

    def codes(self, features: Features) -> Codes:
        return Codes.from_outputs(self.outputs(features), GRAINS)

    def telling_apart(self, steady: Steady) -> Head:
        """The same head with other bits for which picture it is: they look at the features alone."""
        others = np.zeros((len(steady.weight), self.numbers.weight.shape[1] - steady.weight.shape[1]), np.float32)
        rows = halved(np.concatenate([steady.weight, others], axis=1))
        weight = np.concatenate([self.numbers.weight[:ALIKE], rows])
        bias = np.concatenate([self.numbers.bias[:ALIKE], steady.bias])
        return replace(self, numbers=replace(self.numbers, weight=weight, bias=bias))


def halved(weight: Features) -> Features:
    """Rounded as the graph keeps it."""
    rounded: Features = weight.astype(np.float16).astype(np.float32)
    return rounded


def classifier_of(weights: bytes) -> Classifier:
    records = {record.name: record for record in tensors_of(weights)}

    def tensor(name: str) -> Features:
        record = records[name]
        steps = [4 * stride for stride in record.strides]
        found: Features = np.ndarray(record.shape, "<f4", weights, record.offset, steps).copy()
        return found

    return Classifier.of(tensor("_fc.weight"), tensor("_fc.bias"))


def fitted(sets: FittingSets, classifier: Classifier, seed: int, settings: Settings = DISTILLED) -> Head:
    """The head of one seed."""
    mean = mean_root(sets.roots)
    classes = np.random.default_rng(seed).integers(0, len(classifier.weight), len(sets.pictures))
    pictures = np.concatenate([sets.pictures, reflected(sets.pictures, classes, classifier)])
    nothing = np.empty((0, 0), np.float32)
    inputs, teachers = inputs_of(pictures, mean, classifier), teachers_of(pictures, mean, classifier)
    bits = [width for width in GRAINS.values() if width <= ALIKE]
    layer = distill(Material(inputs, teachers, nothing, nothing), bits, seed, settings)
    weight, bias = layer.weight.detach().numpy(), layer.bias.detach().numpy()
    parts = (classifier.kinds, classifier.looks, classifier.directions)
    alike = Head(HeadNumbers(mean, *parts, halved(weight), bias), classifier)
    return alike.telling_apart(steady_of(sets, np.ones(len(sets.whole), bool), seed))


def steady_of(sets: FittingSets, used: NDArray[np.bool_], seed: int) -> Steady:
    """Fitted on the small pictures and on those of the sharp ones that are `used`."""
    mean, rows = mean_root(sets.roots), used[sets.source]
    originals = root_of(sets.originals[rows], mean)
    pictures = np.concatenate([root_of(sets.small, mean), np.unique(originals, axis=0)])
    return steady_bits(pictures, originals, root_of(sets.edited[rows], mean), GRAINS.bits - ALIKE, seed)
