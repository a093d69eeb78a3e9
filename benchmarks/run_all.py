"""Every benchmark, one after the other, never beside one another."""

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
SEARCH = ("kernels", "scan", "indexed", "growth", "filters", "joins", "warm")
NAMES = (
    "fresh_clone",
    "footprint",
    "encode_photos",
    "large_pictures",
    "kill_add",
    "quality",
    "near_copies",
    "photo_costs",
    "words",
    "nesting",
    "nesting_whole",
    "own_folder",
    "smaller",
    "training_speed",
    "evaluation",
    "methods",
    "cifar10",
    "robustness",
    "drills",
)
for name in (*NAMES, *(f"search/{name}" for name in SEARCH)):
    print(f"--- {name}", flush=True)
    subprocess.run([sys.executable, HERE / f"{name}.py"], check=True)
