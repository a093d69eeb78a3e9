"""Grains with names and depth of one's own: `order:16,family:32,species:64,look:128`."""

from __future__ import annotations

import dataclasses
from itertools import pairwise

from hashgrain.codes import Grains
from hashgrain.errors import CodesError, TrainingError
from hashgrain.learn.recipe import Recipe

EXAMPLE = "order:16,family:32,species:64"


def read_grains(text: str) -> Grains:
    """Names and widths, coarse to fine, each wider than the one before it."""
    pairs = [_pair(part, text) for part in text.split(",")]
    names = [name for name, _ in pairs]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise TrainingError(f"--grains {text}: {twice!r} is named twice; each grain has a name of its own")
    for (coarse, narrow), (fine, wide) in pairwise(pairs):
        if wide <= narrow:
            raise TrainingError(
                f"--grains {text}: {fine} has {wide} bits and {coarse} before it {narrow}; name grains coarse to fine,"
                " each wider than the one before"
            )
    try:
        return Grains(dict(pairs))
    except CodesError as error:
        raise TrainingError(f"--grains {text}: {error}") from None


def _pair(part: str, text: str) -> tuple[str, int]:
    name, _, bits = (piece.strip() for piece in part.partition(":"))
    if not name or not (bits.isascii() and bits.isdigit()):
        raise TrainingError(f"--grains {text}: {part.strip()!r} is no grain; a name and its bits, as in {EXAMPLE}")
    return name, int(bits)


def with_grains(recipe: Recipe, grains: Grains) -> Recipe:
    """The recipe with these grains. As many of the last ones as it learns without labels stay so; each of the others
    takes a level of the hierarchy."""
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
