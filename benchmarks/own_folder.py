"""Which command for a small folder of one's own: 1,000 pictures of CIFAR-10, which the default model has never seen.

They lie in folders, kind/thing/picture.jpg, as a user's would. 1,000 other pictures of the same things are asked.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter

import numpy as np
import pyarrow.parquet as parquet

from hashgrain import Encoder
from hashgrain.evaluate import average_precision, precision, tally
from hashgrain.learn.data.labelled import Labelled, load_labelled
from report import need_data, table, write_section

EACH, SEEDS = 100, (1, 2, 3)
ON_SMALL = ("--set", "trained=head", "--set", "backbone=bundle:small")
COMMANDS = {
    "nothing trained: `small`": (),
    "`--recipe adapt`, of `photo`": ("--recipe", "adapt"),
    "`--recipe adapt --set backbone=bundle:small`": ("--recipe", "adapt", "--set", "backbone=bundle:small"),
    "`--recipe default --set trained=head --set backbone=bundle:small`": ("--recipe", "default", *ON_SMALL),
    "`--recipe csq --set trained=head --set backbone=bundle:small`": ("--recipe", "csq", *ON_SMALL),
    "`--recipe quick`, from random weights": ("--recipe", "quick"),
}


def draw(part: str, folder: Path) -> None:
    """The first hundred of each thing."""
    counts: dict[str, int] = {}
    for n, row in enumerate(parquet.read_table(need_data() / "cifar-10" / f"{part}.parquet").to_pylist()):
        place = folder / part / str(row["superclass"]) / str(row["label"])
        counts[place.name] = counts.get(place.name, 0) + 1
        if counts[place.name] <= EACH:
            place.mkdir(parents=True, exist_ok=True)
            (place / f"{n}.jpg").write_bytes(row["image"]["bytes"])


def labelled(folder: Path, size: int) -> Labelled:
    return load_labelled(folder, size, ("kind", "thing"), part=None)


def figures(model: str, folder: Path) -> list[float]:
    encoder = Encoder.load(model)
    asked, searched = (labelled(folder / part, encoder.bundle.size[0]) for part in ("test", "train"))
    codes, found = [encoder.codes(each.inputs) for each in (asked, searched)], []
    for grain in ("kind", "thing"):
        at = grain if grain in encoder.grains else encoder.grains.finest
        counts = tally(codes[0].at(at), codes[1].at(at), asked.levels[grain].only(), searched.levels[grain].only())
        found += [float(precision(counts, 10).mean()), float(average_precision(counts).mean())]
    return found


def main() -> None:
    rows = []
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        for part in ("train", "test"):
            draw(part, folder)
        for name, options in COMMANDS.items():
            scores, times = [], []
            for seed in SEEDS if options else (0,):
                model = str(folder / f"model-{len(rows)}-{seed}") if options else "small"
                started = perf_counter()
                if options:
                    outputs = ("--out", model, "--run", f"{model}-run", "--set", "held_out=10", "--set", f"seed={seed}")
                    command = ["-m", "hashgrain", "train", "--data", str(folder / "train"), *options, *outputs, "-q"]
                    subprocess.run([sys.executable, *command], check=True, stdout=subprocess.DEVNULL)
                times.append(perf_counter() - started)
                scores.append(figures(model, folder))
            mean, spread = np.mean(scores, axis=0), np.std(scores, axis=0, ddof=min(1, len(scores) - 1))
            cells = [f"{m:.3f}" + f" ± {s:.3f}" * bool(options) for m, s in zip(mean, spread, strict=True)]
            rows.append([name, f"{np.median(times):.0f} s" if options else "", *cells])
    text = (
        f"1,000 pictures of CIFAR-10 in folders ({EACH} of each of ten things, two kinds; 10 of each kept for"
        f" validation), learnt from by `hashgrain train`; {EACH} others of each thing asked against those 1,000."
        f" Means and standard deviations over {len(SEEDS)} seeds, expected over ties; seconds of the whole command.\n\n"
    )
    columns = ["trained by", "time", "kind P@10", "kind mAP", "thing P@10", "thing mAP"]
    write_section(
        "4e-own-folder", "A small folder of one's own", "python benchmarks/own_folder.py", text + table(columns, rows)
    )


if __name__ == "__main__":
    main()
