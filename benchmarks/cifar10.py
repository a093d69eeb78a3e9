"""docs/results/cifar10.md and cifar10-small.md: the methods there are, on CIFAR-10, by the product's own commands.

Runs that stand finished in benchmarks/runs/cifar10 are not made again; a run put there by `hashgrain evaluate` is a
row on the page. Protocols may be named: python benchmarks/cifar10.py cifar10-1
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from hashgrain.evaluate.results import FILE
from report import HERE, need_data, table, write_section

RUNS = HERE / "runs" / "cifar10"
RESULTS = HERE.parent / "docs" / "results"
PAGES = {"photo": "cifar10.md", "small": "cifar10-small.md"}
SEEDS, BITS = "0,1,2", "16,32,64"
PROTOCOLS = ("cifar10-1", "cifar10-2", "cifar10-unseen")
SHOWN = ("mAP@ALL hash", "mAP@1000 ir", "P@10")


def hashgrain(*arguments: object) -> None:
    subprocess.run([sys.executable, "-m", "hashgrain", *map(str, arguments)], check=True)


def rows(group: dict) -> list[list[str]]:
    found = []
    for method in group["methods"]:
        if method["bits"] not in (64, 10, None):
            continue
        cells = []
        for name in SHOWN:
            figure = method["figures"][name]
            open_ = "worst" in figure and figure["best"] - figure["worst"] >= 0.0005
            bounds = f" ({figure['worst']:.3f} to {figure['best']:.3f})" if open_ else ""
            spread = ", one seed" if figure["spread"] is None else f" ± {figure['spread']:.3f}"
            cells.append(f"{figure['mean']:.3f}{spread}{bounds}")
        found.append([group["protocol"]["name"], method["method"], *cells])
    return found


def measure(model: str, page: Path) -> list[list[str]]:
    """The model and the reference methods on its features; beside them on the page what methods.py made on these."""
    options = [option for protocol in sys.argv[1:] or PROTOCOLS for option in ("--protocol", protocol)]
    options += ["--seeds", SEEDS, "--bits", BITS, "--references", "all", "--out", RUNS / model]
    hashgrain("evaluate", model, "--data", need_data() / "cifar-10", *options)
    runs = [path.parent for place in (f"{model}/*", f"methods-{model}-*") for path in RUNS.glob(f"{place}/{FILE}")]
    hashgrain("compare", *sorted(runs), "--out", page, "--title", f"CIFAR-10, on the features of {model}")
    groups = json.loads(page.with_suffix(".json").read_text())["groups"]
    return [[model, *row] for group in groups for row in rows(group)]


def main() -> None:
    found = [row for model, page in PAGES.items() for row in measure(model, RESULTS / page)]
    text = (
        "The models in the package (neither learnt from CIFAR-10) and the reference methods on their features, 64 bits,"
        " classifier and real-valued rows; means and standard deviations over the seeds, in brackets what the order of"
        " ties could make of it. All widths, conventions and what is within noise: [cifar10.md]"
        "(../docs/results/cifar10.md) and [cifar10-small.md](../docs/results/cifar10-small.md).\n\n"
    )
    text += table(["model", "protocol", "method", *SHOWN], found)
    command = " ".join(["python benchmarks/cifar10.py", *sys.argv[1:]])
    write_section("b-cifar10", "Codes on CIFAR-10", command, text)


if __name__ == "__main__":
    main()
