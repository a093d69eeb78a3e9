"""Checkpoints: the state of an unfinished training on disk, and whether a run may resume from it."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from hashgrain.errors import Remedy, TrainingError
from hashgrain.files import write_atomically, writing_atomically
from hashgrain.learn.recipe import Recipe

FILE, BEST = "checkpoint.pt", "best.pt"


def identity(recipe: Recipe, data: str, start: str, precision: str) -> dict[str, Any]:
    """What must be the same to resume: everything but the tuning of the head, which comes later."""
    same = dataclasses.replace(recipe, tuning=None, about="")
    return {"recipe": repr(same), "data": data, "start": start, "precision": precision}


def save(run: Path, state: Mapping[str, Any], name: str = FILE) -> None:
    """Write atomically: a full disk leaves the previous checkpoint intact."""
    try:
        with writing_atomically(run / name) as file:
            torch.save(dict(state), file)
    except (OSError, RuntimeError) as error:  # torch wraps a full disk into a RuntimeError
        earlier = f"; the state before it stands in {run / name}" if (run / name).exists() else ""
        raise TrainingError(
            f"cannot write the checkpoint {run / name} ({error}){earlier}. Make room and run it again"
        ) from None


def load(run: Path, wanted: Mapping[str, Any] | None = None, name: str = FILE) -> dict[str, Any] | None:
    """The checkpoint in `run`, if any. One of another recipe or of other data is refused."""
    file = run / name
    if not file.exists():
        return None
    try:
        state: dict[str, Any] = torch.load(file, weights_only=True, map_location="cpu")
        saved = state["identity"]
    except Exception as error:  # a damaged archive raises a dozen unrelated classes
        raise TrainingError(f"{file} is damaged ({error}); remove it to start again") from None
    for what, why in (
        ("recipe", "another recipe"),
        ("data", "pictures or labels that have changed since"),
        ("start", "other initial weights, features, teacher or class similarities"),
        ("precision", "a machine of another precision"),
    ):
        if wanted is not None and saved.get(what) != wanted[what]:
            raise TrainingError(
                f"{run} holds a run of {why}",
                path=run,
                remedy=Remedy("choose another folder for the run, or remove this one", "other_run"),
            )
    return state


def log(run: Path, line: Mapping[str, Any]) -> None:
    with (run / "log.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def cut_log(run: Path, step: int) -> None:
    """Drop the lines logged after the checkpoint that is resumed: those steps run again."""
    file = run / "log.jsonl"
    if file.exists():
        lines = [line for line in file.read_text(encoding="utf-8").splitlines() if _step_of(line) <= step]
        write_atomically(file, "".join(line + "\n" for line in lines).encode())


def _step_of(line: str) -> float:
    """The step of a line; infinity where a power cut left the line unfinished."""
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return math.inf
