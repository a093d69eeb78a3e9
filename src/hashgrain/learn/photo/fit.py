"""Fits the head of `photo`: bits of similarity by distillation, bits that identify a picture by steady directions."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from hashgrain.codes import Codes, Grains
from hashgrain.hashers import Features
from hashgrain.learn.distill import Material, Settings, distill
from hashgrain.learn.photo.features import Traits
from hashgrain.learn.photo.graph import HeadNumbers
from hashgrain.learn.photo.head import Classifier, inputs_of, mean_root, reflected, root_of, teachers_of
from hashgrain.learn.photo.sets import FittingSets
from hashgrain.learn.photo.torch_file import tensors_of
from hashgrain.learn.training.steady import Analysis, Steady, steady_bits

GRAINS = Grains({"kind": 48, "thing": 96, "look": 256})
ALIKE = GRAINS["thing"]  # bits of similarity; the rest identify the picture:
LAID_OUT = 48  # of these from its layout, the others from its features
OF_FEATURES, OF_LAYOUTS = Analysis(directions=192), Analysis(directions=48, shrinkage=1e-3)
DISTILLED = Settings(teacher_temperatures=(0.1, 0.1), code_temperatures=(0.2, 0.15))


@dataclass(frozen=True)
class Head:
    """The parameters of a head, as the graph stores them, and the same computation in numpy."""

    numbers: HeadNumbers
    classifier: Classifier

    def outputs(self, traits: Traits) -> Features:
        n = self.numbers
        seen = inputs_of(traits.features, n.mean, self.classifier) @ n.weight.T + n.bias
        return np.concatenate([seen, traits.layouts @ n.layout_weight.T + n.layout_bias], axis=1)

    def codes(self, traits: Traits) -> Codes:
        return Codes.from_outputs(self.outputs(traits), GRAINS)

    def telling_apart(self, features: Steady, layouts: Steady) -> Head:
        """The same head with other bits that identify pictures, from the features alone or from the layout."""
        old = self.numbers
        others = np.zeros((len(features.weight), old.weight.shape[1] - features.weight.shape[1]), np.float32)
        rows = halved(np.concatenate([features.weight, others], axis=1))
        weight, bias = np.concatenate([old.weight[:ALIKE], rows]), np.concatenate([old.bias[:ALIKE], features.bias])
        laid_out = {"layout_weight": layouts.weight, "layout_bias": layouts.bias}
        return replace(self, numbers=replace(old, weight=weight, bias=bias, **laid_out))


def halved(weight: Features) -> Features:
    """Rounded to the half precision in which the graph stores it."""
    rounded: Features = weight.astype(np.float16).astype(np.float32)
    return rounded


def classifier_of(weights: bytes) -> Classifier:
    records = {record.name: record for record in tensors_of(weights)}

    def tensor(name: str) -> Features:
        record = records[name]
        steps = [4 * stride for stride in record.strides]
        values: Features = np.ndarray(record.shape, "<f4", weights, record.offset, steps).copy()
        return values

    return Classifier.of(tensor("_fc.weight"), tensor("_fc.bias"))


def fitted(sets: FittingSets, classifier: Classifier, seed: int, settings: Settings = DISTILLED) -> Head:
    """Fit the head with one seed."""
    mean = mean_root(sets.roots)
    known = sets.pictures.features
    classes = np.random.default_rng(seed).integers(0, len(classifier.weight), len(known))
    pictures = np.concatenate([known, reflected(known, classes, classifier)])
    nothing = np.empty((0, 0), np.float32)
    inputs, teachers = inputs_of(pictures, mean, classifier), teachers_of(pictures, mean, classifier)
    bits = [width for width in GRAINS.values() if width <= ALIKE]
    layer = distill(Material(inputs, teachers, nothing, nothing), bits, seed, settings)
    weight, bias = layer.weight.detach().numpy(), layer.bias.detach().numpy()
    parts = (classifier.kinds, classifier.looks, classifier.directions)
    alike = Head(HeadNumbers(mean, *parts, halved(weight), bias, nothing, np.empty(0, np.float32)), classifier)
    return alike.telling_apart(*steady_of(sets, np.ones(len(sets.whole), bool), seed))


def steady_of(sets: FittingSets, used: NDArray[np.bool_], seed: int) -> tuple[Steady, Steady]:
    """Steady bits of features and of layouts, fitted on the small pictures and the `used` ones of the sharp."""
    mean, rows = mean_root(sets.roots), used[sets.source]
    originals, edited = sets.originals[rows], sets.edited[rows]
    _, different = np.unique(originals.features, axis=0, return_index=True)
    pictures = Traits.joined(sets.small, originals[different])

    def root(traits: Traits) -> Features:
        return root_of(traits.features, mean)

    sides = root(pictures), root(originals), root(edited)
    features = steady_bits(*sides, GRAINS.bits - ALIKE - LAID_OUT, seed, OF_FEATURES)
    laid_out = pictures.layouts, originals.layouts, edited.layouts
    return features, steady_bits(*laid_out, LAID_OUT, seed, OF_LAYOUTS)
