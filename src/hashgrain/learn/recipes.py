"""Recipes: everything that decides a training run, as literals to read, print and `dataclasses.replace`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from hashgrain.codes import Grains
from hashgrain.errors import TrainingError
from hashgrain.learn.augment import Augmentation


@dataclass(frozen=True)
class Phase:
    """Some epochs at one picture size. Small pictures first: the early epochs need no detail and cost a quarter."""

    epochs: float
    size: int


@dataclass(frozen=True)
class HeadTuning:
    """The last step: the labelled bits of the head on frozen features. See tuning.py."""

    epochs: int = 12
    batch: int = 1024
    learning_rate: float = 2e-3
    weight_decay: float = 1e-3
    temperature: float = 0.1
    quantisation_weight: float = 0.3
    dropout: float = 0.1  # of the features


@dataclass(frozen=True)
class Recipe:
    name: str
    about: str
    grains: Grains = field(default_factory=lambda: Grains(kind=32, thing=64, look=128))
    channels: tuple[int, ...] = (24, 48, 128, 256)
    blocks: tuple[int, ...] = (0, 1, 2, 1)
    phases: tuple[Phase, ...] = (Phase(18, 32), Phase(12, 48), Phase(6, 64))
    size: int = 64  # of the pictures the finished model takes
    batch: int = 64  # pictures; the network sees two views of each
    learning_rate: float = 2e-3
    weight_decay: float = 0.03
    warm_up: float = 0.04  # share of all steps
    scale: float = 12.0
    margin: float = 0.1
    temperature: float = 0.2
    kind_weight: float = 0.5
    classifier_weight: float = 1.0
    instance_weight: float = 0.25
    quantisation_weight: float = 0.03
    augmentation: Augmentation = field(default_factory=Augmentation)
    tuning: HeadTuning = field(default_factory=HeadTuning)
    held_out: int = 50  # pictures of each thing kept for validation
    label_noise: float = 0.0  # share of training labels made wrong on purpose; never of those kept for validation
    seed: int = 1


RECIPES: Mapping[str, Recipe] = {
    "default": Recipe(
        "default", "the model in the package: kind, thing and look from 64 px, about an hour of two cores"
    ),
    "quick": Recipe(
        "quick",
        "the same line in a few minutes, for trying out your own folder",
        channels=(16, 32, 64, 128),
        blocks=(0, 1, 1, 1),
        phases=(Phase(6, 32), Phase(2, 64)),
        held_out=5,
    ),
}


def change(recipe: Recipe, settings: Sequence[str]) -> Recipe:
    """A recipe with some numbers changed: `["seed=3", "margin=0.2"]`."""
    plain = {f.name: f for f in dataclasses.fields(recipe) if isinstance(getattr(recipe, f.name), (int, float))}
    changes: dict[str, int | float] = {}
    for setting in settings:
        name, _, text = setting.partition("=")
        if name not in plain:
            raise TrainingError(f"--set {setting}: the recipe has no number {name!r}; it has {', '.join(plain)}")
        try:
            changes[name] = type(getattr(recipe, name))(text)
        except ValueError:
            raise TrainingError(f"--set {setting}: {text!r} is not a number") from None
    return dataclasses.replace(recipe, **changes)  # type: ignore[arg-type]
