"""Pruning, imitation, 8-bit integers and several models as one, each made by the product's own command from `quick`.

Models that stand finished in benchmarks/runs/smaller are not made again; all of them take about an hour.
"""

from __future__ import annotations

import subprocess
import sys

from costs import cost_table
from hashgrain.models import Bundle
from report import HERE, need_data, write_section

MADE = HERE / "runs" / "smaller"
DATA = need_data() / "tiny-imagenet-200"


def train(name: str, *settings: str) -> None:
    """The recipe `quick`, keeping out the same pictures as the default model did, which the costs are measured on."""
    sets = [part for setting in ("held_out=50", *settings) for part in ("--set", setting)]
    made_by("train", name, "--data", DATA, "--recipe", "quick", "--run", MADE / f"run-{name}", *sets)


def shrink(name: str, large: str, how: str) -> None:
    made_by("shrink", name, MADE / large, how, "--pictures", DATA)


def made_by(command: str, name: str, *arguments: object) -> None:
    if not (MADE / name / "model.onnx").is_file():
        every = [command, *map(str, arguments), "--out", str(MADE / name)]
        subprocess.run([sys.executable, "-m", "hashgrain", *every], check=True)


def main() -> None:
    train("quick")
    shrink("int8", "quick", "--int8")
    shrink("half", "quick", "--half")
    train("pruned", "pruned=0.5")
    shrink("pruned-int8", "pruned", "--int8")
    train("another", "seed=2")
    made_by("join", "joined", MADE / "quick", MADE / "another", "--pictures", DATA)
    train("ensemble", "trained=head", f"backbone=bundle:{MADE / 'joined'}")
    train("taught", "teacher=default")
    rows = {
        "`quick`, float32": "quick",
        "… in 8-bit integers": "int8",
        "… weights in 16 bits": "half",
        "… another seed": "another",
        "… half of the inner channels pruned, 4 more epochs": "pruned",
        "… pruned, in 8-bit integers": "pruned-int8",
        "… taught by the default model": "taught",
        "… the two seeds joined, a new head": "ensemble",
    }
    text = (
        "The recipe `quick` (8 epochs of a small network), one seed of each training; a model taught or joined costs"
        " what its row says, training aside. "
    )
    text += cost_table({row: Bundle.read(str(MADE / name)) for row, name in rows.items()})
    write_section("4d-smaller", "Pruned, taught and joined models", "python benchmarks/smaller.py", text)


if __name__ == "__main__":
    main()
