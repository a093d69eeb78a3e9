"""The initial weights of a backbone: they are logged, recorded, and refused if random ones would never be trained."""

from __future__ import annotations

from typing import Any

from hashgrain.errors import Remedy, TrainingError
from hashgrain.learn.data.choices import HUB, PIP, RANDOM
from hashgrain.learn.recipe import Recipe

DRAWN = ("compact", "timm", "torchvision")  # backbones whose weights are random unless some are given


def weights_for(recipe: Recipe) -> str:
    """The `weights` argument of a backbone: a file, "hub", "pip", or "" for random ones."""
    return "" if recipe.network.weights == RANDOM else recipe.network.weights


def check_begins(recipe: Recipe) -> None:
    """Refuse a frozen backbone of random weights, whose features are noise, unless weights=random asks for it."""
    network = recipe.network
    frozen = bool(recipe.hasher) or network.trained == "head"
    if frozen and not network.weights and _is_drawn(recipe):
        raise TrainingError(
            f"recipe {recipe.name} trains nothing of its backbone {network.backbone}, whose weights would be random and"
            " its features noise",
            remedy=Remedy(
                "bring weights, weights=FILE.safetensors, pip or hub, or take a model you have, trained=head,"
                " backbone=bundle:photo, size=224; weights=random says that noise is meant",
                "bring_weights",
            ),
        )


def begins_message(recipe: Recipe) -> str:
    """One line for the log, or "" where the backbone has weights of its own."""
    network = recipe.network
    if not _is_drawn(recipe):
        return ""
    if network.weights == HUB:
        return f"backbone {network.backbone} begins with its published weights, from the hub"
    if network.weights == PIP:
        return f"backbone {network.backbone} begins with the weights that a pip package brings"
    if weights_for(recipe):
        return f"backbone {network.backbone} begins with the weights of {network.weights}"
    rest = "they stay as they are" if recipe.hasher or network.trained == "head" else "it learns from nothing"
    return f"WEIGHTS AT RANDOM: backbone {network.backbone} begins with random weights, and {rest}"


def begins_facts(recipe: Recipe) -> dict[str, Any]:
    """What a bundle records of the weights: random, hub, pip, or the file's name and SHA-256."""
    if not _is_drawn(recipe):
        return {}
    from hashgrain.files import sha256_of
    from hashgrain.learn.backbones.pth import named  # imports torch

    file = weights_for(recipe)
    if not file or file in (HUB, PIP):
        return {"weights": {"from": file or RANDOM}}
    path, _ = named(file)
    return {"weights": {"from": path.name, "sha256": sha256_of(path)}}


def _is_drawn(recipe: Recipe) -> bool:
    return recipe.network.backbone.partition(":")[0] in DRAWN
