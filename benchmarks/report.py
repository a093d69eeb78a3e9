"""What the benchmarks share: where the real pictures are, medians, tables, and where figures are written."""

from __future__ import annotations

import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

HERE = Path(__file__).parent
DATA = Path(os.environ.get("HASHGRAIN_DATA", HERE.parent / "../shared/data")).resolve()


def need_data() -> Path:
    if not (DATA / "photos").is_dir():
        sys.exit(f"no real pictures at {DATA}: set HASHGRAIN_DATA to the folder that holds them")
    return DATA


def median_seconds(work: Callable[[], object], runs: int = 5) -> float:
    """The median of several runs after one that is not counted."""
    work()
    times = []
    for _ in range(runs):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    return "\n".join(lines + ["| " + " | ".join(map(str, row)) + " |" for row in rows])


def machine() -> str:
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [line.partition(":")[2].strip() for line in info.read_text().splitlines() if "model name" in line]
        model = names[0] if names else model
    return f"{os.cpu_count()} cores of {model}, Python {platform.python_version()}"


def write_section(name: str, title: str, command: str, text: str) -> None:
    """One section of RESULTS.md. `run_all.py` joins them."""
    section = f"## {title}\n\n`{command}` on {machine()}, {time.strftime('%Y-%m-%d')}.\n\n{text.strip()}\n"
    (HERE / "results").mkdir(exist_ok=True)
    (HERE / "results" / f"{name}.md").write_text(section)
    print(section)
    sections = sorted((HERE / "results").glob("*.md"))
    head = "# Results\n\nEvery figure here was measured by the command above it. `make bench` runs most of them; the\n"
    head += "others compare with another version, or take a folder or library that they name.\n\n"
    (HERE / "RESULTS.md").write_text(head + "\n".join(part.read_text() for part in sections))
