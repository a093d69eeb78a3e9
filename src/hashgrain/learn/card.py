"""The card that stands beside a bundle: what it is, what it was made of, how good it was, from the run itself."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hashgrain.learn.recipe import Recipe, changeable
from hashgrain.learn.recipes import RECIPES


def write_card(path: Path, recipe: Recipe, facts: Mapping[str, Any], parity: str) -> None:
    part = path.with_suffix(".part")
    part.write_text(model_card(recipe, facts, parity), encoding="utf-8")
    os.replace(part, path)


def model_card(recipe: Recipe, facts: Mapping[str, Any], parity: str) -> str:
    """Plain facts of one run. What it is good for, and what it must not be used for, only its makers can add."""
    network = recipe.network
    grains = " ⊂ ".join(f"`{grain}` {bits}" for grain, bits in recipe.grains.items())
    began = network.weights or "random weights"
    lines = [
        f"# Model card: {recipe.name}",
        "",
        f"{recipe.about[:1].upper()}{recipe.about[1:]}.",
        "",
        "| | |",
        "|---|---|",
        f"| takes | RGB pictures, the whole picture squashed to {recipe.size} x {recipe.size} |",
        f"| gives | codes of {recipe.grains.bits} bits: {grains} |",
        f"| network | {network.backbone}, begun from {began}; trained: {network.trained} |",
        f"| head | {recipe.hasher or ' and '.join([*map(str, network.hidden), 'one linear layer'])} |",
        f"| export | ONNX; {parity} |",
        "",
        "## Data",
        "",
        _data(facts["data"]),
        "",
        "## Recipe",
        "",
        _command(recipe, facts),
    ]
    if not recipe.hasher:
        lines += ["", _schedule(recipe)]
    if "validation" in facts:
        lines += [
            "",
            "## Figures",
            "",
            "Pictures kept out of training, some asked against the others; expectation over the order of ties.",
            "",
            "| figure | value |",
            "|---|---|",
            *(f"| {name} | {value:g} |" for name, value in facts["validation"].items()),
        ]
    return "\n".join([*lines, "", "## Limits", "", LIMITS, ""])


def _data(data: Mapping[str, Any]) -> str:
    wrong = f" {data['mislabelled']:,} labels were made wrong on purpose." if data["mislabelled"] else ""
    return (
        f"{data['pictures']:,} pictures of `{data['folder']}`{part_of(data)} were"
        f" learnt from, {data['held_out']:,} were kept out to"
        f" choose and to calibrate; {data['refused']:,} could not be opened and were left out.{wrong}"
    )


def part_of(data: Mapping[str, Any]) -> str:
    """Which part of the pictures, where a protocol says."""
    if "manifest" not in data:
        return ""
    return f" of the training part of {data['protocol']}, seed {data['seed']} (manifest {data['manifest'][:12]}),"


def _command(recipe: Recipe, facts: Mapping[str, Any]) -> str:
    """The command that makes it again: the recipe's name, and what was changed of it."""
    known = RECIPES.get(recipe.name)
    before = {} if known is None else changeable(known)
    sets = [
        f" --set {name}={_said(v)}" for name, v in changeable(recipe).items() if name in before and before[name] != v
    ]
    bits = ",".join(map(str, recipe.grains.values()))
    widths = f" --bits {bits}" if known is not None and known.grains != recipe.grains else ""
    made = f"with HashGrain {facts['hashgrain']} and torch {facts['torch']}"
    return f"`hashgrain train --recipe {recipe.name}{widths}{''.join(sets)}`, seed {recipe.seed}, {made}."


def _said(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _schedule(recipe: Recipe) -> str:
    aim, schedule = recipe.aim, recipe.schedule
    phases = ", ".join(f"{phase.epochs:g} epochs at {phase.size} px" for phase in schedule.phases)
    settings = "".join(f", {name} {value:g}" for name, value in aim.settings.items())
    return (
        f"Loss `{aim.loss}`{settings}, at {', '.join(recipe.labelled) or 'every grain'}; {phases};"
        f" batches of {schedule.batch}, learning rate {schedule.learning_rate:g}."
    )


LIMITS = (
    "Measured on pictures like those it was trained on. On others the codes mean less. The words *same*, *near* and"
    " *related* were calibrated on the pictures kept out. It is no lock, and must not be used to identify people."
)
