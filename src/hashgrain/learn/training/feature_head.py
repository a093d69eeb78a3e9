"""A head trained on features of another program with the loss of a recipe: vectors in, codes out, no pictures."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from hashgrain import __version__
from hashgrain.codes import Grains
from hashgrain.errors import Remedy, TrainingError
from hashgrain.hashers import FeatureHead
from hashgrain.learn.data.labelled import Labelled, load_features
from hashgrain.learn.data.splits import hold_out
from hashgrain.learn.recipe import Network, Recipe
from hashgrain.learn.training.heads import long_enough, train_head
from hashgrain.learn.training.objective import check_aim
from hashgrain.learn.training.validation import validate
from hashgrain.types import Log


def train_on_features(
    recipe: Recipe, features: Path, labels: Path | None, out: Path, run: Path, log: Log
) -> dict[str, Any]:
    """Train a head and write it to `out`. Returns its facts and its figures on held-out rows."""
    recipe = on_features(recipe)
    if recipe.labelled and labels is None:
        raise TrainingError(
            f"recipe {recipe.name} learns from labels",
            remedy=Remedy("give them, one row per feature row", "give_labels"),
        )
    if not recipe.labelled and labels is not None:
        raise TrainingError(f"recipe {recipe.name} learns from no labels: leave them out, or take another recipe")
    if not out.absolute().parent.is_dir():
        raise TrainingError(f"the head cannot be written to {out}: there is no folder {out.absolute().parent}")
    check_aim(recipe)
    data = load_features("", recipe.labelled, features=features, labels=labels or "")
    training, validation = hold_out(data, recipe.held_out if recipe.labelled else 0)
    log(f"training on {len(training):,} rows of {data.inputs.shape[1]} values, {len(validation):,} held out")
    head = train_head(long_enough(recipe, len(training)), training.inputs[None], training, validation, run, log)
    facts = {
        "hashgrain": __version__,
        "recipe": recipe.name,
        "loss": recipe.aim.loss,
        "seed": recipe.seed,
        "rows": len(training),
        "held out": len(validation),
    }
    made = FeatureHead(recipe.grains, head.projections(), recipe.name, facts)
    figures = _validated(made, validation, recipe.grains)
    dataclasses.replace(made, facts=facts | {"validation": figures}).save(out)
    return {"head": str(out), "digest": made.digest, "grains": dict(recipe.grains), **facts, "validation": figures}


def on_features(recipe: Recipe) -> Recipe:
    """The recipe with features in place of its network; an error where it needs pictures."""
    why = None
    if recipe.hasher:
        raise TrainingError(
            f"recipe {recipe.name} fits {recipe.hasher}, without labels",
            remedy=Remedy(f"fit {recipe.hasher} of hashgrain.hashers", "fit_hasher", hasher=recipe.hasher),
        )
    if recipe.tuning or recipe.network.layered or recipe.network.concepts:
        why = "trains a network on pictures"
    elif recipe.views > 1 or recipe.aim.instance_weight:
        why = "compares two views of each picture, and features have only one"
    elif recipe.aim.teacher or recipe.aim.soft_targets:
        why = "is taught by another network, which looks at pictures"
    if why is not None:
        raise TrainingError(
            f"recipe {recipe.name} {why}", remedy="on features, take a method by itself, such as csq or dpsh"
        )
    how = recipe.network
    network = Network("features", trained="head", hidden=how.hidden, normalize=how.normalize, dropout=how.dropout)
    return dataclasses.replace(recipe, network=network, cached_views=1, pruned=0.0)


def _validated(head: FeatureHead, validation: Labelled, grains: Grains) -> dict[str, float]:
    return validate(head.transform(validation.inputs), validation, grains) if len(validation) > 1 else {}  # type: ignore[arg-type]
