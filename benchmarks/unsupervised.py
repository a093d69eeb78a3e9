"""Codes without labels on CIFAR-10, on the frozen features of the model in the package, beside a published figure.

What `hashgrain evaluate` has finished in benchmarks/runs/unsupervised is not made again.
"""

from __future__ import annotations

import json
import subprocess
import sys

from hashgrain.evaluate.results import FILE
from report import HERE, need_data, table, write_section

RUNS = HERE / "runs" / "unsupervised"
FIGURE, BITS, PROTOCOL = "mAP@1000 hash", 64, "cifar10-unsup-I"
PUBLISHED, BY = 0.663, "SDC, VGG-16"


def main() -> None:
    if not list(RUNS.glob(f"*/{FILE}")):
        asked = ("--protocol", PROTOCOL, "--bits", BITS, "--references", "all", "--out", RUNS)
        command = ["evaluate", "photo", "--data", need_data() / "cifar-10", *asked]
        subprocess.run([sys.executable, "-m", "hashgrain", *map(str, command)], check=True)
    (file,) = RUNS.glob(f"*/{FILE}")
    measured = json.loads(file.read_text())["rows"]
    found = sorted(measured, key=lambda row: -row["figures"][FIGURE]["value"])
    rows = [
        [f"{row['figures'][FIGURE]['value'] / PUBLISHED:.3f}", row["method"], row["bits"] or "", figure(row)]
        for row in found
    ]
    text = (
        f"`hashgrain evaluate photo` on `{PROTOCOL}`: nothing was trained on labels but the *classifier*. {FIGURE};"
        f" published: {PUBLISHED} ({BY}). The order of the float features, by cosine, is what codes of these features"
        " imitate.\n\n"
    )
    command = "python benchmarks/unsupervised.py"
    write_section(
        "b-unsupervised", "Codes without labels", command, text + table(["ratio", "method", "bits", FIGURE], rows)
    )


def figure(row: dict) -> str:
    return f"{row['figures'][FIGURE]['value']:.4f}"


if __name__ == "__main__":
    main()
