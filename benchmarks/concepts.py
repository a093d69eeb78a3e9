"""A fine-grained method beside methods on pooled features: one network, one schedule, classes that look alike.

34 animals of Tiny ImageNet from six families, 80 pictures of each to learn from (20 of these are kept for validation)
and 25 to ask with. Finished trainings in benchmarks/runs/concepts are kept, and interrupted ones resume:
python benchmarks/concepts.py 0 1
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from hashgrain.evaluate.results import FILE
from report import HERE, need_data, table, write_section

RUNS = HERE / "runs" / "concepts"
FAMILIES = ("arachnid and centipede", "canine", "feline", "hoofed mammal", "insect", "primate")
PER_CLASS = {"train": 80, "test": 25}
FIGURE = "mAP@ALL hash"
COMMON = ("size=128", "epochs=6")
METHODS = {
    "CSQ, pooled features": (),
    "OrthoHash, pooled features": ("loss=ortho_hash", "normalize=yes"),
    "ConceptHash, 1 concept": ("loss=concept_hash", "normalize=yes", "concepts=1", "classifier_weight=0"),
    "ConceptHash, 4 concepts": ("loss=concept_hash", "normalize=yes", "concepts=4", "classifier_weight=0"),
}


def hashgrain(*arguments: object) -> None:
    subprocess.run([sys.executable, "-m", "hashgrain", *map(str, arguments)], check=True)


def animals() -> Path:
    """Folders train/FAMILY/ANIMAL and test/FAMILY/ANIMAL, written once."""
    place = RUNS / "animals"
    if (place / "done").exists():
        return place
    source = need_data() / "tiny-imagenet-200"
    known = json.loads((source / "hierarchy.json").read_text())["classes"]
    for part, files in (("train", "train-*.parquet"), ("test", "val-*.parquet")):
        written = Counter[str]()
        for file in sorted(source.glob(files)):
            for row in pq.read_table(file, columns=["image", "label"]).to_pylist():
                one = known[row["label"]]
                if one["superclass"] in FAMILIES and written[one["name"]] < PER_CLASS[part]:
                    folder = place / part / one["superclass"] / one["name"]
                    folder.mkdir(parents=True, exist_ok=True)
                    (folder / f"{written[one['name']]}.jpg").write_bytes(row["image"]["bytes"])
                    written[one["name"]] += 1
    (place / "done").touch()
    return place


def measured(name: str, seed: int) -> tuple[float, float]:
    """The figure on the test pictures, and that on those kept for validation."""
    place = RUNS / f"{name.replace(', ', '-').replace(' ', '-')}-seed{seed}"
    split = ("--data", animals(), "--protocol", "parts")
    if not (place / "model" / "model.json").exists():
        changes = [word for setting in (f"seed={seed + 1}", *COMMON, *METHODS[name]) for word in ("--set", setting)]
        model = ("--recipe", "pretrained", "--bits", 64, "--out", place / "model", "--run", place / "run")
        hashgrain("train", *split, *model, *changes)
    if not list(place.glob(f"evaluated/*/{FILE}")):
        hashgrain("evaluate", place / "model", *split, "--references", "none", "--out", place / "evaluated")
    (file,) = place.glob(f"evaluated/*/{FILE}")
    row = next(row for row in json.loads(file.read_text())["rows"] if row["bits"] == 64)
    last = json.loads((place / "run" / "log.jsonl").read_text().splitlines()[-1])
    return row["figures"][FIGURE]["value"], last["validation"]["thing mAP"]


def main() -> None:
    seeds = [int(seed) for seed in sys.argv[1:]] or [0]
    found = {name: np.array([measured(name, seed) for seed in seeds]) for name in METHODS}
    base = found["OrthoHash, pooled features"][:, 0].mean()
    rows = [
        [
            f"{each[:, 0].mean() / base:.3f}",
            name,
            f"{each[:, 0].mean():.3f}",
            ", ".join(f"{value:.3f}" for value in each[:, 0]),
            f"{each[:, 1].mean():.3f}",
        ]
        for name, each in found.items()
    ]
    text = (
        "34 animals of six families of Tiny ImageNet (64 px, shown at 128), 60 pictures of each learned from and 20"
        " kept for validation; 850 queries from the part that no choice has seen, in a database of these. All rows:"
        " `hashgrain train --recipe pretrained`, 64 bits, the same network, schedule and augmentation; the network's"
        " ImageNet weights have seen these classes, and perhaps these pictures.\n\n"
    )
    columns = ["ratio", "method", FIGURE, "seeds", "validation mAP"]
    command = " ".join(["python benchmarks/concepts.py", *map(str, seeds)])
    write_section("b-concepts", "Classes that look alike", command, text + table(columns, rows))


if __name__ == "__main__":
    main()
