"""The model in floats, halves and integers on one core: on this processor, and as one without VNNI runs it.

`no_vnni.c` hides AVX-512, VNNI and AMX from one process, so ONNX Runtime falls back to its AVX2 kernels. Each setting
is measured in a process of its own; in it the three models take turns, so that what else happens meets all of them.
"""

from __future__ import annotations

import hashlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as parquet
from numpy.typing import NDArray

from hashgrain import Encoder
from hashgrain.graphs.agreement import agreement
from hashgrain.graphs.half import halve
from hashgrain.graphs.int8 import quantize
from hashgrain.media import open_picture
from hashgrain.models import Bundle
from report import HERE, need_data, table, write_section

CALIBRATION, PICTURES, ROUNDS = 256, 1_000, 15
MODELS = ("float32", "half", "int8")
NOT_POSSIBLE = 78  # the exit status of no_vnni.c where CPUID cannot be made to fault
FLOAT_MODEL = os.environ.get("FLOAT_MODEL", "runs/default-model")  # what `make model` makes before it is shrunk


def read(name: str, count: int) -> NDArray[np.uint8]:
    """Every so many-th picture of a table, which is ordered by class."""
    column = parquet.read_table(need_data() / "tiny-imagenet-200" / name, columns=["image"]).column("image")
    rows = np.linspace(0, len(column) - 1, count).astype(int).tolist()
    size = Bundle.read(FLOAT_MODEL).size
    return np.stack([open_picture(column[row].as_py()["bytes"], size=size).pixels for row in rows])


def measure(folder: Path) -> None:
    """What a child process does: JSON of each model's milliseconds a picture, and of the digest of its codes."""
    pixels = np.load(folder / "pixels.npy")
    encoders = {name: Encoder.load(folder / name, threads=1) for name in MODELS}
    codes = {name: encoder.codes(pixels) for name, encoder in encoders.items()}  # and so warmed up
    times: dict[str, list[float]] = {name: [] for name in MODELS}
    for _ in range(ROUNDS):
        for name, encoder in encoders.items():
            started = time.perf_counter()
            encoder.outputs(pixels)
            times[name].append((time.perf_counter() - started) / len(pixels))
    digests = {name: hashlib.sha256(part.to_bytes().tobytes()).hexdigest() for name, part in codes.items()}
    found = {"ms": {name: 1000 * statistics.median(times[name]) for name in MODELS}, "codes": digests}
    print(json.dumps(found))


def measured(folder: Path, preload: Path | None) -> tuple[dict[str, float], dict[str, str]]:
    """Each model's milliseconds a picture, and the digest of its codes."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"} | ({"LD_PRELOAD": str(preload)} if preload else {})
    command = [sys.executable, __file__, "--measure", str(folder)]
    child = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=False)
    if child.returncode == NOT_POSSIBLE:
        sys.exit("VNNI cannot be hidden here, so there is nothing to compare: run this on a machine with cpuid_fault")
    child.check_returncode()
    found = json.loads(child.stdout)
    return found["ms"], found["codes"]


def main() -> None:
    plain = Bundle.read(FLOAT_MODEL)
    calibration, pixels = read("train-00-of-04.parquet", CALIBRATION), read("val-00-of-01.parquet", PICTURES)
    bundles = dict(zip(MODELS, (plain, halve(plain, calibration), quantize(plain, calibration)), strict=True))
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        library = folder / "no_vnni.so"
        subprocess.run(["cc", "-O2", "-shared", "-fPIC", "-o", library, HERE / "no_vnni.c"], check=True)
        np.save(folder / "pixels.npy", pixels)
        for name, bundle in bundles.items():
            bundle.write(folder / name)
        (here, here_codes), (without, without_codes) = measured(folder, None), measured(folder, library)
    rows = []
    for name, bundle in bundles.items():
        times = [f"{part[name]:.2f} ({part['float32'] / part[name]:.1f}x)" for part in (here, without)]
        same = 100 * agreement(plain, bundle, pixels).bits[plain.grains.finest]
        alike = "yes" if here_codes[name] == without_codes[name] else "no"
        rows.append([name, f"{len(bundle.onnx) / 1e6:.1f} MB", *times, f"{same:.2f} %", alike])
    columns = ["model", "file", "ms a picture", "the same without VNNI", "bits as float32", "same codes in both"]
    text = (
        f"The model in the package on one thread, batches of 32; {PICTURES:,} validation pictures, which calibrated"
        f" nothing; medians of {ROUNDS} runs, in brackets how much faster than float32 in the same setting.\n\n"
        + table(columns, rows)
    )
    command = "FLOAT_MODEL=runs/default-model python benchmarks/without_vnni.py"
    write_section("e-without-vnni", "Smaller models, with and without VNNI", command, text)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        measure(Path(sys.argv[2]))
    else:
        main()
