"""The same recipe from several seeds: a run and a bundle each, the best of them, and how far they are apart."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from hashgrain.learn.recipe import Recipe


def run_folder(recipe: str) -> Path:
    """Where a run is kept if nobody says: under the recipe's name, or that of its file."""
    return Path("runs") / (Path(recipe).stem if recipe.endswith(".json") else recipe)


def seeded(recipe: Recipe, seeds: int, run: Path, out: Path) -> list[tuple[Recipe, Path, Path]]:
    """Recipe, run and bundle of each seed; the first seed is the recipe's own."""
    if seeds == 1:
        return [(recipe, run, out)]
    numbers = range(recipe.seed, recipe.seed + seeds)
    return [(replace(recipe, seed=n), run / f"seed{n}", run / f"seed{n}" / "model") for n in numbers]


def best_of(made: Sequence[dict[str, Any]], out: Path) -> dict[str, Any]:
    """The bundle of the best seed at `out`, and means and spreads of the figures over the seeds."""
    from hashgrain.learn.training.validation import score

    best = max(made, key=lambda facts: score(facts["validation"]))
    shutil.copytree(best["bundle"], out, dirs_exist_ok=True)
    columns = {name: [facts["validation"][name] for facts in made] for name in best["validation"]}
    return best | {
        "bundle": str(out),
        "validation": {name: mean(values) for name, values in columns.items()},
        "spread": {name: stdev(values) for name, values in columns.items()},
        "seeds": {str(facts["recipe"]["seed"]): facts["validation"] for facts in made},
    }
