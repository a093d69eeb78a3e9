"""The default model under attack, and a classifier on its features that learnt from wrong labels."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile

import numpy as np

from hashgrain import Encoder
from hashgrain.learn.attack import Attack, attack_report
from hashgrain.learn.data.labelled import load_labelled
from hashgrain.learn.data.splits import hold_out
from report import need_data, table, write_section

GRAINS = ("kind", "thing")
QUERIES = 200
K = 1000
HOW = Attack(eps=8, step=1.0, steps=20, seed=0)
NOISE = "0.2,0.4,0.6"


def attacked() -> str:
    """Two tables: away from everything, and towards another class."""
    folder = need_data() / "tiny-imagenet-200"
    encoder = Encoder.load("small")
    _, held = hold_out(load_labelled(folder, 64, GRAINS), 50)
    val = load_labelled(folder, 64, GRAINS, part="val")
    chosen = np.random.default_rng(0).permutation(len(val))[:QUERIES]
    database = encoder.codes(held.inputs)
    away, towards = [], []
    for grain in encoder.grains:
        level = grain if grain in GRAINS else "thing"
        wanted, labels = val.levels[level].only()[chosen], held.levels[level].only()
        report, _ = attack_report(encoder, val.inputs[chosen], wanted, database, labels, grain, HOW, k=K)
        figures = (report.map_before, report.map_noise, report.map_after)
        bits = (report.flipped_noise, report.flipped_after)
        away.append([grain, *(f"{value:.3f}" for value in figures), *(f"{value:.1f}" for value in bits)])
        report, _ = attack_report(encoder, val.inputs[chosen], wanted, database, labels, grain, HOW, targeted=True, k=K)
        to_target = [f"{value:.1f}" for value in (report.to_target_before, report.to_target_after) if value is not None]
        towards.append([grain, f"{report.map_before:.3f}", f"{report.map_after:.3f}", *to_target])
    one = ["grain", "mAP before", "random noise", "attacked", "bits turned by noise", "by the attack"]
    two = ["grain", "mAP of the other class before", "after", "bits from its code before", "after"]
    return (
        f"{QUERIES} pictures of `val` against 10,000 kept out of training, mAP@{K} (`hash`, expected over ties). Every"
        f" pixel may change by {HOW.eps} of 255 gray levels, {HOW.steps} steps; whole gray levels, judged by the real"
        f" encoder.\n\n{table(one, away)}\n\nTowards the majority code of another class:\n\n{table(two, towards)}"
    )


def mislabelled() -> str:
    with tempfile.TemporaryDirectory() as out:
        command = [sys.executable, "-m", "hashgrain", "evaluate", "small", "--data", need_data() / "cifar-10"]
        command += ["--protocol", "cifar10-1", "--label-noise", NOISE, "--bits", "64", "--out", out, "--json"]
        done = subprocess.run(list(map(str, command)), stdout=subprocess.PIPE, check=True)
    (result,) = json.loads(done.stdout)
    rows = [
        [row["method"], f"{row['figures']['mAP@ALL hash']['value']:.3f}", f"{row['figures']['P@10']['value']:.3f}"]
        for row in result["rows"]
        if row["method"].startswith("classifier") or row["kind"] == "model"
    ]
    return (
        "Wrong training labels, protocol `cifar10-1`, seed 0: the linear classifier on the model's features, as code."
        f"\n\n{table(['method', 'mAP@ALL', 'P@10'], rows)}"
    )


def main() -> None:
    text = f"### Attack\n\n{attacked()}\n\n### Label noise\n\n{mislabelled()}"
    write_section("c-robustness", "Robustness of the default model", "python benchmarks/robustness.py", text)


if __name__ == "__main__":
    main()
