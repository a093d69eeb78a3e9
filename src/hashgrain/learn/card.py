"""The model card beside a bundle: what it is, its training data and its figures, all taken from the run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hashgrain.files import write_atomically
from hashgrain.learn.command import command_of
from hashgrain.learn.data.choices import FITTED
from hashgrain.learn.recipe import Network, Recipe
from hashgrain.models.description import MAX_PROVENANCE


def write_card(path: Path, recipe: Recipe, facts: Mapping[str, Any], parity: str, reasons: Sequence[str] = ()) -> None:
    """`reasons` say why the model never uses a word such as *same*."""
    text = model_card(recipe, facts, parity, path.parent.name, reasons)
    write_atomically(path, text.encode("utf-8", "backslashreplace"))


def model_card(
    recipe: Recipe, facts: Mapping[str, Any], parity: str, out: str = "", reasons: Sequence[str] = ()
) -> str:
    """Facts of one run. Only its makers can add what it is good for and what it must not be used for."""
    network = recipe.network
    grains = " ⊂ ".join(f"`{grain}` {bits}" for grain, bits in recipe.grains.items())
    began = "random weights" if network.weights in ("", "random") else network.weights
    lines = [
        f"# Model card: {recipe.name}",
        "",
        f"{recipe.about[:1].upper()}{recipe.about[1:]}.",
        "",
        "| | |",
        "|---|---|",
        f"| takes | RGB pictures, {FITTED[recipe.fit]} {recipe.size} x {recipe.size} |",
        f"| gives | codes of {recipe.grains.bits} bits: {grains} |",
        f"| network | {network.backbone}, begun from {began}; trained: {_trained(network)} |",
        f"| head | {recipe.hasher or _head(network)} |",
        f"| export | ONNX; {parity} |",
        "",
        "## Data",
        "",
        _data(facts["data"]),
        "",
        "## Recipe",
        "",
        _command(recipe, facts, out),
    ]
    if not recipe.hasher:
        lines += ["", _schedule(recipe)]
    if "validation" in facts:
        lines += [
            "",
            "## Figures",
            "",
            KEPT_OUT,
            "",
            "| figure | value |",
            "|---|---|",
            *(f"| {name} | {value:g} |" for name, value in facts["validation"].items()),
        ]
    why = [f"- {reason[:1].upper()}{reason[1:]}." for reason in reasons]
    return "\n".join([*lines, "", "## Limits", "", LIMITS, *([""] if why else []), *why, ""])


def begun_from(recipe: Recipe) -> str:
    """Where the weights come from, in a sentence; of files their names, not their places."""
    network = recipe.network
    began = "random weights" if network.weights in ("", "random") else Path(network.weights).name
    return f"recipe {recipe.name}: network {named_source(network.backbone)}, begun from {began}"[:MAX_PROVENANCE]


def named_source(source: str) -> str:
    """KIND:NAME; of a file or folder its name, not its place."""
    kind, colon, place = source.partition(":")
    return f"{kind}:{Path(place).name}" if colon and kind in ("onnx", "keras", "folder", "bundle") else source


def _head(network: Network) -> str:
    if network.concepts:
        return f"{network.concepts} concepts on the feature map, and one linear layer for each"
    return " and ".join([*map(str, network.hidden), "one linear layer"])


def _trained(network: Network) -> str:
    several = network.trained == "last" and network.trained_stages > 1
    return f"the last {network.trained_stages} stages" if several else network.trained


def _data(data: Mapping[str, Any]) -> str:
    wrong = f" {data['mislabelled']:,} labels were made wrong on purpose." if data["mislabelled"] else ""
    return (
        f"{data['pictures']:,} pictures of `{data['folder']}`{part_of(data)} were"
        f" learnt from, {data['held_out']:,} were kept out to"
        f" choose and to calibrate; {data['refused']:,} could not be opened and were left out.{wrong}"
    )


def part_of(data: Mapping[str, Any]) -> str:
    """The part of the pictures that a protocol names, or ""."""
    if "manifest" not in data:
        return ""
    return f" of the training part of {data['protocol']}, seed {data['seed']} (manifest {data['manifest'][:12]}),"


def _command(recipe: Recipe, facts: Mapping[str, Any], out: str) -> str:
    """The command that makes the same bundle, with the same digest on the same kind of machine."""
    made = f"with HashGrain {facts['hashgrain']} and torch {facts['torch']}"
    command = command_of(recipe, facts["data"], out)
    if not command:
        return f"Made in Python, {made}, seed {recipe.seed}; `training.recipe` of model.json holds the whole recipe."
    return f"`{command}`, {made}."


def _schedule(recipe: Recipe) -> str:
    aim, schedule = recipe.aim, recipe.schedule
    phases = ", ".join(f"{phase.epochs:g} epochs at {phase.size} px" for phase in schedule.phases)
    settings = "".join(f", {name} {value:g}" for name, value in aim.settings.items())
    return (
        f"Loss `{aim.loss}`{settings}, at {', '.join(recipe.labelled) or 'every grain'}; {phases};"
        f" batches of {schedule.batch}, learning rate {schedule.learning_rate:g}."
    )


KEPT_OUT = (
    "Pictures kept out of training, some asked against the others; expectation over the order of ties. *At most* is"
    " what perfect codes would reach with as few pictures of each class."
)
LIMITS = (
    "Measured on pictures like those it was trained on. On others the codes mean less. The words *same*, *near* and"
    " *related* are told as far as pictures kept out say how often they are wrong. It is no lock, and must not be used"
    " to identify people."
)
