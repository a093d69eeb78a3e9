"""Grains with custom names and depth: `order:16,family:32,species:64,look:128`."""

from __future__ import annotations

import dataclasses

from hashgrain.codes import Grains, grains_of
from hashgrain.errors import CodesError, TrainingError
from hashgrain.learn.recipe import Recipe


def read_grains(text: str) -> Grains:
    """Parse names and widths, coarse to fine, each wider than the one before it."""
    try:
        return grains_of(text)
    except CodesError as error:
        raise TrainingError(f"grains {text}: {error}") from None


def with_grains(recipe: Recipe, grains: Grains) -> Recipe:
    """The recipe with these grains. It learns as many of the last ones without labels as before; each of the others
    learns one level of the hierarchy."""
    unlabelled = len(recipe.grains) - len(recipe.labelled)
    least = unlabelled + int(bool(recipe.labelled))
    if len(grains) < least:
        raise TrainingError(
            f"recipe {recipe.name} learns its last grain without labels and those before it by labels: name {least}"
            f" grains or more, not {', '.join(grains)} alone"
        )
    labelled = tuple(grains)[: len(grains) - unlabelled] if recipe.labelled else ()
    own_levels = bool(labelled) and not recipe.same_labels
    return dataclasses.replace(recipe, grains=grains, labelled=labelled, every_level=own_levels)
