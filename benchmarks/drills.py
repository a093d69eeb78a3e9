"""The long drills: kills, failing calls, power cuts, flipped bits, hostile input, links, long-lived readers, engines.

python benchmarks/drills.py [FILE]
With a file of tests/drills, its drills alone, into a section of their own.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

from report import HERE, table, write_section

WORKERS = "2"
ORDER = (
    "kills at a call",
    "killed adds",
    "failing calls",
    "power loss",
    "flips",
    "hostile catalogues",
    "fuzzed archives",
    "fuzzed tables",
    "fuzzed bundles",
    "links",
    "readers",
    "fuzzed uploads",
    "killed server",
    "questions to engines",
    "killed database",
    "killed ClickHouse",
)
WORST = ("peak_mb", "slowest_s")  # of these the parts' largest counts; all else is added up
TOLD = ("drill", "trials", "broken", "seconds", "verbs", *WORST)


def run_all(figures: Path, drills: str) -> str:
    """Run the drills of a file or folder in their long form; the last line of what pytest said."""
    environment = {**os.environ, "HASHGRAIN_DRILL": "long", "HASHGRAIN_DRILL_FIGURES": str(figures)}
    environment["OMP_NUM_THREADS"] = "1"
    command = [sys.executable, "-m", "pytest", "-n", WORKERS, "--dist", "worksteal", "-m", "drill", drills]
    done = subprocess.run(command, cwd=HERE.parent, env=environment, stdout=subprocess.PIPE, text=True, check=False)
    print(done.stdout)
    return done.stdout.strip().splitlines()[-1].strip("= ")


def gather(figures: Path) -> dict[str, dict[str, Any]]:
    """The figures of each drill, its parts taken together."""
    drills: dict[str, Counter[str]] = defaultdict(Counter)
    for file in sorted(figures.glob("*.json")):
        part = json.loads(file.read_text())
        drill = drills[part.pop("drill")]
        for name, value in part.items():
            drill[name] = max(drill[name], value) if name in WORST else drill[name] + value
    return dict(drills)


def row(name: str, drill: dict[str, Any]) -> list[object]:
    more = ", ".join(f"{word} {count}" for word, count in drill.items() if word not in TOLD)
    peak = f"{drill['peak_mb']} MB" if "peak_mb" in drill else ""
    return [name, drill["trials"], drill["broken"], f"{drill['seconds']:.0f} s", peak, more]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", nargs="?")
    file: str | None = parser.parse_args().file
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as scratch:
        said = run_all(Path(scratch), file or "tests/drills")
        drills = gather(Path(scratch))
    columns = ("drill", "trials", "promises broken", "time", "peak memory of a process", "what became of them")
    rows = [row(name, drills[name]) for name in ORDER if name in drills]
    minutes = (time.monotonic() - started) / 60
    seed = os.environ.get("HASHGRAIN_DRILL_SEED", "1")
    text = (
        f"Seed {seed}, {minutes:.0f} minutes in {WORKERS} processes; pytest said: {said}.\n\n{table(columns, rows)}\n\n"
        "A promise is broken where an acknowledged item is lost or other than it was, an answer is wrong without an"
        " error, a file outside the library is touched, a traceback is shown, a limit of time is passed, or a process"
        " dies. `tests/drills/README.md` says what each drill does and how to replay a seed."
    )
    if file is None:
        write_section("f-drills", "Drills", "make drills", text)
    else:
        words = Path(file).stem.removeprefix("test_").split("_")
        title, command = f"Drills: {' '.join(words)}", f"python benchmarks/drills.py {file}"
        write_section(f"f-drills-{'-'.join(words)}", title, command, text)


if __name__ == "__main__":
    main()
