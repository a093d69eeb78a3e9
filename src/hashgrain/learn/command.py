"""The command that makes a model again, for its card: the name of the recipe and every changed setting."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from hashgrain.errors import TrainingError
from hashgrain.learn.data.own_grains import with_grains
from hashgrain.learn.recipe import Recipe, change, changeable, with_bits
from hashgrain.learn.recipes import RECIPES


def command_of(recipe: Recipe, data: Mapping[str, Any], out: str) -> str:
    """The command, or "" where none makes this recipe because it was written in Python. Paths of folders are left out:
    only their names are used."""
    known = RECIPES.get(recipe.name)
    if known is None:
        return ""
    bits = list(recipe.grains.values())
    try:
        widths = ["--bits", ",".join(map(str, bits))] if known.grains != recipe.grains else []
        if list(known.grains) != list(recipe.grains):
            known = with_grains(known, recipe.grains)
            widths = ["--grains", ",".join(f"{name}:{width}" for name, width in recipe.grains.items())]
        settings = _settings(known, recipe)
        if with_bits(change(known, settings), bits) != recipe:
            return ""
    except TrainingError:
        return ""
    return joined(recipe.name, data, out, [*widths, *(part for each in settings for part in ("--set", each))])


def joined(recipe: str, data: Mapping[str, Any], out: str, more: list[str]) -> str:
    """The whole command line, quoted for a shell."""
    folders = ["--data", str(data["folder"]) or ".", "--out", out or "model"]
    return shlex.join(["hashgrain", "train", *folders, *_part(data), "--recipe", recipe, *more])


def as_option(value: Any) -> str:
    """A value as `--set` takes it."""
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _settings(known: Recipe, recipe: Recipe) -> list[str]:
    """The `--set` values that turn the recipe of that name into this one."""
    changes: dict[str, Any] = {}
    epochs, before = (float(f"{sum(p.epochs for p in each.schedule.phases):.10g}") for each in (recipe, known))
    if epochs != before:
        changes["epochs"] = epochs
    plain, own = changeable(known), recipe.aim.settings
    others = {name: value for name, value in changeable(recipe).items() if name not in own and name in plain}
    changes |= {name: value for name, value in others.items() if plain[name] != value}
    changes |= {name: value for name, value in own.items() if known.aim.settings.get(name) != value}
    return [f"{name}={as_option(value)}" for name, value in changes.items()]


def _part(data: Mapping[str, Any]) -> list[str]:
    if "manifest" not in data:
        return []
    if not data["drawn"]:
        return ["--manifest", "manifest.json.gz"]
    seed = ["--protocol-seed", str(data["seed"])] if data["seed"] else []
    return ["--protocol", str(data["protocol"]), *seed]
