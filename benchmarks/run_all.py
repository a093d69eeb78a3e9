"""Every benchmark, one after the other, never beside one another."""

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
SEARCH = ("kernels", "scan", "indexed", "growth", "filters", "joins", "warm", "remove")
NAMES = (
    "fresh_clone",
    "footprint",
    "encode_photos",
    "search_many",
    "large_pictures",
    "kill_add",
    "quality",
    "near_copies",
    "duplicates",
    "verifying",
    "restoring",
    "photo_costs",
    "details",
    "calibration",
    "words",
    "nesting",
    "nesting_whole",
    "own_folder",
    "smaller",
    "training_speed",
    "evaluation",
    "methods",
    "cifar10",
    "seeds",
    "robustness",
    "drills",
    "serve_load",
    "page_speed",
    "new_user",
)
CACHED = ("photo", "photo_integers", "adapt", "model_make", "tagging")  # each keeps features in a folder
CACHE = HERE.parent / "runs" / "benchmarks"

commands = [[name] for name in (*NAMES, *(f"search/{name}" for name in SEARCH))]
commands += [["published", "cifar10-1", "0", "1"], ["published", "cifar10-2", "0"], ["concepts", "0"]]
commands += [["parts", "--details", "normal", "--closer", "6"]]
commands += [["encode_photos", "small"], ["judged", "score"], *([name, str(CACHE)] for name in CACHED)]
for name, *options in commands:
    print(f"--- {name}", flush=True)
    subprocess.run([sys.executable, HERE / f"{name}.py", *options], check=True)
