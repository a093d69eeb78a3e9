"""What the `photo` model costs: a picture, its assembly, the first `add` on a machine; `small` beside it."""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import onnxruntime

from hashgrain.models import Bundle
from report import median_seconds, need_data, table, write_section

PICTURES, RUNS = 80, 3


def milliseconds(model: str, threads: int, batch: int) -> float:
    """The network alone, for one picture of a batch."""
    bundle = Bundle.read(model)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(bundle.onnx, options, providers=["CPUExecutionProvider"])
    shape = (batch, *bundle.size[::-1], 3)
    pixels = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    return 1000 * median_seconds(lambda: session.run(["outputs"], {"pixels": pixels}), 9) / batch


def whole_process(model: str, pictures: Path, folder: Path, fresh: bool) -> float:
    """`hashgrain add` of the pictures to a new library, start included; with an empty cache folder if `fresh`."""
    found = []
    for number in range(RUNS):
        cache = folder / (f"cache-{model}-{number}" if fresh else f"cache-{model}")
        library = folder / "new.hg"
        environment = {**os.environ, "HASHGRAIN_MODEL": model, "XDG_CACHE_HOME": str(cache)}
        command = [sys.executable, "-m", "hashgrain", "add", str(library), str(pictures), "--quiet"]
        started = time.perf_counter()
        subprocess.run(command, env=environment, check=True)
        found.append(time.perf_counter() - started)
        shutil.rmtree(library)
    return statistics.median(found)


def main() -> None:
    photographs = sorted((need_data() / "photos").glob("*.jpg"))[:PICTURES]
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        pictures = folder / "pictures"
        pictures.mkdir()
        for path in photographs:
            shutil.copy(path, pictures)
        for model in ("photo", "small"):
            first = whole_process(model, pictures, folder, fresh=True)
            whole_process(model, pictures, folder, fresh=False)
            later = whole_process(model, pictures, folder, fresh=False)
            times = [f"{milliseconds(model, *how):.1f} ms" for how in ((1, 1), (1, 32), (2, 32))]
            rows.append([model, *times, f"{first:.1f} s", f"{later:.1f} s"])
    columns = ["model", "1 thread, 1 picture", "1 thread, of 32", "2 threads, of 32", "first `add`", "later `add`"]
    text = (
        f"The network alone, a picture; then `hashgrain add` of {PICTURES} photographs to a new library as a whole"
        " process, first with an empty cache folder (the graph of `photo` is assembled), then with the graph kept."
        f" Medians.\n\n{table(columns, rows)}"
    )
    write_section("5c-photo-costs", "What the photo model costs", "python benchmarks/photo_costs.py", text)


if __name__ == "__main__":
    main()
