"""A head trained on features of another program, by the loss of a recipe: numbers in, codes out, and no picture."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from hashgrain import __version__
from hashgrain.codes import Grains
from hashgrain.errors import TrainingError
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
    """Train a head and write it to `out`; what it is, and how good on rows that were held out."""
    recipe = on_features(recipe)
    if recipe.labelled and labels is None:
        raise TrainingError(f"recipe {recipe.name} learns from labels: say where they are (--labels), a row of each")
    if not recipe.labelled and labels is not None:
        raise TrainingError(f"recipe {recipe.name} learns from no labels: leave them out, or take another recipe")
    if not out.absolute().parent.is_dir():
        raise TrainingError(f"the head cannot be written to {out}: there is no folder {out.absolute().parent}")
    check_aim(recipe)
    data = load_features("", recipe.labelled, features=features, labels=labels or "")
    training, held = hold_out(data, recipe.held_out if recipe.labelled else 0)
    log(f"training on {len(training):,} rows of {data.inputs.shape[1]} values, {len(held):,} held out")
    head = train_head(long_enough(recipe, len(training)), training.inputs[None], training, held, run, log)
    facts = {
        "hashgrain": __version__,
        "recipe": recipe.name,
        "loss": recipe.aim.loss,
        "seed": recipe.seed,
        "rows": len(training),
        "held out": len(held),
    }
    made = FeatureHead(recipe.grains, head.projections(), recipe.name, facts)
    found = _validated(made, held, recipe.grains)
    dataclasses.replace(made, facts=facts | {"validation": found}).save(out)
    return {"head": str(out), "digest": made.digest, "grains": dict(recipe.grains), **facts, "validation": found}


def on_features(recipe: Recipe) -> Recipe:
    """The recipe with features in the place of its network; an error where it needs pictures."""
    why = None
    if recipe.hasher:
        why = f"fits {recipe.hasher}, without labels: --hasher {recipe.hasher}"
    elif recipe.tuning or recipe.network.layered:
        why = "trains a network on pictures"
    elif recipe.views > 1 or recipe.aim.instance_weight:
        why = "looks at two views of each picture, and of features there is one"
    elif recipe.aim.teacher or recipe.aim.soft_targets:
        why = "is taught by another network, which looks at pictures"
    if why is not None:
        raise TrainingError(f"recipe {recipe.name} {why}; on features, take a method by itself, such as csq or dpsh")
    how = recipe.network
    network = Network("features", trained="head", hidden=how.hidden, normalize=how.normalize, dropout=how.dropout)
    return dataclasses.replace(recipe, network=network, cached_views=1, pruned=0.0)


def _validated(head: FeatureHead, held: Labelled, grains: Grains) -> dict[str, float]:
    return validate(head.transform(held.inputs), held, grains) if len(held) > 1 else {}  # type: ignore[arg-type]
