"""What stands on disk of an unfinished training, and whether it may be gone on with."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from hashgrain.errors import TrainingError
from hashgrain.files import write_atomically, writing_atomically
from hashgrain.learn.recipe import Recipe

FILE, BEST = "checkpoint.pt", "best.pt"


def identity(recipe: Recipe, data: str, start: str, precision: str) -> dict[str, Any]:
    """What must be the same to go on: all but the tuning of the head, which comes after."""
    same = dataclasses.replace(recipe, tuning=None, about="")
    return {"recipe": repr(same), "data": data, "start": start, "precision": precision}


def save(run: Path, state: Mapping[str, Any], name: str = FILE) -> None:
    """Whole or not at all: a full disk leaves the state before as it was."""
    try:
        with writing_atomically(run / name) as file:
            torch.save(dict(state), file)
    except (OSError, RuntimeError) as error:  # torch wraps a full disk into a RuntimeError
        kept = f"; the state before it stands in {run / name}" if (run / name).exists() else ""
        raise TrainingError(
            f"cannot write the checkpoint {run / name} ({error}){kept}. Make room and run it again"
        ) from None


def load(run: Path, wanted: Mapping[str, Any] | None = None, name: str = FILE) -> dict[str, Any] | None:
    """The state that stands in `run`, if any; refused where it is of another recipe or of other data."""
    file = run / name
    if not file.exists():
        return None
    try:
        state: dict[str, Any] = torch.load(file, weights_only=True, map_location="cpu")
        found = state["identity"]
    except Exception as error:  # a damaged archive raises a dozen unrelated classes
        raise TrainingError(f"{file} is damaged ({error}); remove it to begin anew") from None
    for what, why in (
        ("recipe", "another recipe"),
        ("data", "pictures or labels that have changed since"),
        ("start", "other weights, features, teacher or likeness of classes to begin with"),
        ("precision", "a machine of another precision"),
    ):
        if wanted is not None and found.get(what) != wanted[what]:
            raise TrainingError(f"{run} holds a run of {why}; choose another folder with --run, or remove this one")
    return state


def log(run: Path, line: Mapping[str, Any]) -> None:
    with (run / "log.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def cut_log(run: Path, step: int) -> None:
    """Forget what was logged after the checkpoint that is gone on with: those steps are taken again."""
    file = run / "log.jsonl"
    if file.exists():
        kept = [line for line in file.read_text(encoding="utf-8").splitlines() if _step_of(line) <= step]
        write_atomically(file, "".join(line + "\n" for line in kept).encode())


def _step_of(line: str) -> float:
    """A line that a power cut left unfinished is of no step."""
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return math.inf
