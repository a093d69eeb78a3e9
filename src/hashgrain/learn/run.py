"""One command from labelled pictures to a bundle."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from hashgrain import __version__
from hashgrain.learn.data import hold_out, load_labelled, mislabel
from hashgrain.learn.export import export
from hashgrain.learn.recipes import Recipe
from hashgrain.learn.train import build_network, outputs_of, train, validate
from hashgrain.learn.tuning import tune_head


def train_bundle(recipe: Recipe, data: Path, out: Path, run: Path, say: Callable[[str], None]) -> dict[str, Any]:
    """Train (or go on with) a recipe, and write the bundle to `out`. Returns the facts of the run."""
    say(f"reading the pictures of {data}")
    labelled = load_labelled(data, recipe.size)
    for name in labelled.refused:
        say(f"refused: {name}")
    training, held = hold_out(labelled, recipe.held_out)
    del labelled
    flipped = 0
    if recipe.label_noise:
        true = training.labels["thing"]
        training = mislabel(training, recipe.label_noise, recipe.seed)
        flipped = int((training.labels["thing"] != true).sum())
    say(
        f"training on {len(training)} pictures of {len(training.names['thing'])} things in"
        f" {len(training.names['kind'])} kinds; {len(held)} are kept for validation"
    )
    if flipped:
        say(f"{flipped} of the training labels are made wrong on purpose; those kept for validation are not")
    for at in train(recipe, training, held, run):
        found = "".join(f", {name} {value:.3f}" for name, value in (at.validation or {}).items())
        say(f"step {at.step}/{at.steps}, loss {at.loss:.3f}, {at.pictures_per_second:.0f}/s{found}")
    network = build_network(recipe)
    state = torch.load(run / "checkpoint.pt", weights_only=True, map_location="cpu")
    network.load_state_dict(state["network"])
    before = validate(network, held, recipe, recipe.size)
    say("tuning the head on the features of the finished backbone")
    _, features = outputs_of(network, training.pixels, recipe.size)
    tune_head(network, torch.from_numpy(features), training, recipe)
    facts: dict[str, Any] = {
        "recipe": dataclasses.asdict(recipe) | {"grains": dict(recipe.grains)},
        "data": {"folder": data.name, "pictures": len(training), "held_out": len(held), "mislabelled": flipped},
        "validation": validate(network, held, recipe, recipe.size),
        "validation before tuning": before,
        "hashgrain": __version__,
        "torch": torch.__version__.partition("+")[0],
    }
    bundle, parity = export(network, recipe, held, facts)
    bundle.write(out)
    say(f"wrote {out}: {len(bundle.onnx) / 1e6:.1f} MB, {parity}")
    return facts | {"bundle": str(out), "digest": bundle.digest, "parity": dataclasses.asdict(parity)}
