"""A network fine-tuned by `hashgrain train --recipe pretrained`, beside published figures on the same protocols.

Each seed draws the split anew and trains anew; the figure is that of the test part, which no choice has seen.
Runs that were interrupted in benchmarks/runs/published resume, and finished ones are kept:
python benchmarks/published.py cifar10-1 0 1 2
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hashgrain.evaluate.results import FILE
from report import HERE, need_data, table, write_section

RUNS = HERE / "runs" / "published"


@dataclass(frozen=True)
class Comparison:
    protocol: str
    bits: int
    figure: str
    published: float
    by: str
    settings: tuple[str, ...] = ()  # of the recipe, where they differ


COMPARISONS = {
    one.protocol: one
    for one in (
        Comparison("cifar10-1", 48, "mAP@ALL hash", 0.858, "SRE, AlexNet"),
        # Ten times as many training pictures: smaller ones, and fewer epochs.
        Comparison("cifar10-2", 32, "mAP@ALL hash", 0.944, "GreedyHash, AlexNet", ("size=96", "epochs=3")),
    )
}


def hashgrain(*arguments: object) -> None:
    subprocess.run([sys.executable, "-m", "hashgrain", *map(str, arguments)], check=True)


def trained(one: Comparison, seed: int) -> Path:
    """The bundle of a seed."""
    place = RUNS / f"{one.protocol}-{one.bits}-seed{seed}"
    if not (place / "model" / "model.json").exists():
        changes = [word for setting in (f"seed={seed + 1}", *one.settings) for word in ("--set", setting)]
        split = ("--protocol", one.protocol, "--protocol-seed", seed, *changes)
        model = ("--recipe", "pretrained", "--bits", one.bits, "--out", place / "model", "--run", place / "run")
        hashgrain("train", "--data", need_data() / "cifar-10", *split, *model)
    return place


def measured(one: Comparison, seed: int) -> tuple[float, float, float]:
    """The figure on the test part, mAP of the pictures kept for validation, and minutes of training."""
    place = trained(one, seed)
    if not list(place.glob(f"evaluated/*/{FILE}")):
        split = ("--manifest", place / "run" / "manifest.json.gz", "--references", "none")
        hashgrain("evaluate", place / "model", "--data", need_data() / "cifar-10", *split, "--out", place / "evaluated")
    (file,) = place.glob(f"evaluated/*/{FILE}")
    (row,) = json.loads(file.read_text())["rows"]
    last = json.loads((place / "run" / "log.jsonl").read_text().splitlines()[-1])
    return row["figures"][one.figure]["value"], last["validation"]["thing mAP"], last["seconds"] / 60


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("protocol", choices=list(COMPARISONS))
    parser.add_argument("seeds", type=int, nargs="+")
    given = parser.parse_args()
    one, seeds = COMPARISONS[given.protocol], given.seeds
    found = np.array([measured(one, seed) for seed in seeds])
    mean = found[:, 0].mean()
    spread = f" ± {found[:, 0].std(ddof=1):.4f}" if len(seeds) > 1 else ", one seed"
    row = [
        f"{mean / one.published:.3f}",
        one.protocol,
        one.bits,
        one.figure,
        f"{mean:.4f}{spread}",
        ", ".join(f"{value:.4f}" for value in found[:, 0]),
        f"{one.published} ({one.by})",
        f"{found[:, 1].mean():.3f}",
        ", ".join(f"{minutes:.0f}" for minutes in found[:, 2]),
    ]
    changed = f" With {' and '.join(one.settings)}." if one.settings else ""
    text = (
        "`hashgrain train --recipe pretrained`: EfficientNet-Lite0 with ImageNet weights, its last five stages trained"
        " on the protocol's training pictures but 20 of each class, which are kept for validation; settings were chosen"
        f" on those of `cifar10-1`, seed 0.{changed} Validation asks among these pictures alone. The published figure"
        " stands on another backbone, as named. Other programs ran beside the trainings.\n\n"
    )
    columns = [
        "ratio",
        "protocol",
        "bits",
        "figure",
        "ours",
        "seeds",
        "published",
        "validation mAP",
        "minutes of training",
    ]
    command = " ".join(["python benchmarks/published.py", one.protocol, *map(str, seeds)])
    title = f"Beside published figures: {one.protocol}"
    write_section(f"b-published-{one.protocol}", title, command, text + table(columns, [row]))


if __name__ == "__main__":
    main()
