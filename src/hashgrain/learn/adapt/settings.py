"""The settings of an adaptation. Without torch, so that they can be listed and changed where nothing can be trained."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hashgrain.errors import Remedy, TrainingError

NAME = "adapt"
ABOUT = "your own classes on the features of a model you have (photo), in seconds, keeping what it knows"
BUNDLE = "bundle:"


@dataclass(frozen=True)
class Adaptation:
    """The values were chosen on validation pictures; see docs/decisions/0016-adapting.md."""

    backbone: str = "bundle:default"  # the model that is adapted: bundle:NAME, or bundle:FOLDER
    held_out: int = 10  # pictures of each class for validation: at most so many, and at most a fifth
    label_weight: float = 2.0  # of a shared label, relative to the model's own similarity
    steps: int = 400
    batch: int = 384
    learning_rate: float = 0.05
    seed: int = 1

    def __post_init__(self) -> None:
        least = {"held_out": 0, "label_weight": 0, "steps": 1, "batch": 2, "seed": 0}
        for name, low in least.items():
            if getattr(self, name) < low:
                raise TrainingError(f"recipe {NAME}: {name} is {getattr(self, name)}, and must be {low} or more")
        if not self.learning_rate > 0:
            raise TrainingError(f"recipe {NAME}: learning_rate is {self.learning_rate}, and must be above 0")
        if not self.backbone.startswith(BUNDLE) or self.backbone == BUNDLE:
            raise TrainingError(
                f"recipe {NAME}: backbone is {self.backbone!r}",
                remedy=Remedy(
                    "name a model, as bundle:NAME or bundle:FOLDER; other recipes train networks of a package",
                    "adapt_bundle",
                ),
            )

    @property
    def bundle(self) -> str:
        return self.backbone.removeprefix(BUNDLE)


def changeable() -> dict[str, Any]:
    """Every name that `changed` accepts, with its default."""
    return dataclasses.asdict(Adaptation())


def changed(settings: Sequence[str]) -> Adaptation:
    """The recipe with some of its values changed: `["seed=3", "backbone=bundle:small"]`."""
    values: dict[str, Any] = {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not equals or not name:
            raise TrainingError(f"setting {setting}: it takes NAME=VALUE")
        if name not in changeable():
            raise TrainingError(f"setting {setting}: there is no {name!r}; there are {', '.join(sorted(changeable()))}")
        values[name] = _parsed(changeable()[name], text, setting)
    return Adaptation(**values)


def _parsed(old: Any, text: str, setting: str) -> Any:
    try:
        value = type(old)(text)
    except ValueError:
        value = math.nan
    if isinstance(value, float) and not math.isfinite(value):
        wanted = "a whole number" if isinstance(old, int) else "a number"
        raise TrainingError(f"setting {setting}: {text!r} is not {wanted}")
    return value
