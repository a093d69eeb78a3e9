"""What trust costs: the version before it and this one, pair by pair, as whole processes on the same machine.

Takes the folder of a checkout of the version before, with its kernels built, and a folder to keep the large libraries
in for the next run: python benchmarks/trust_costs.py BEFORE KEEP
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from hashgrain.sources import Source, find
from report import HERE, need_data, table, write_section

N, AT_ONCE, PICTURES, PAIRS = 1_000_000, 20_000, 1_000, 5
BUILD = f"""
import hashlib, sys
import numpy as np
from hashgrain import Library
from hashgrain.store import New
codes = np.random.default_rng(0).integers(0, 2**63, ({N}, 2)).astype(np.uint64)
def item(i):
    content = hashlib.sha256(str(i).encode()).hexdigest()
    return New(f"/pictures/{{i}}.jpg", content, (1000, i), 640, 480, "jpeg", None, codes[i], {{"n": i}})
with Library.create(sys.argv[1]) as library:
    for low in range(0, {N}, {AT_ONCE}):
        library.store.commit([item(i) for i in range(low, min({N}, low + {AT_ONCE}))])
"""
OPEN = """
import sys
from hashgrain import Library
with Library.open(sys.argv[1]) as library:
    assert len(library) == int(sys.argv[2])
"""
SEARCH = """
import sys
from hashgrain import Library
with Library.open(sys.argv[1]) as library:
    for item in range(1, 101):
        assert len(library.search(item)) == 10
"""
FILTER = """
import sys
from hashgrain import Library
with Library.open(sys.argv[1]) as library:
    assert len(library.search(7, where="n < 500000")) == 10
"""
ADD = """
import sys
from hashgrain import Library
with Library.open_or_create(sys.argv[1]) as library:
    library.add(sys.argv[2])
"""


def timed(source: Path, script: str, *arguments: object) -> float:
    """Seconds of the whole process, or those that the script prints."""
    paths = os.pathsep.join([str(source), str(source.parent / "benchmarks")])
    # Compiled modules are kept, whatever the environment says: else every process compiles all of its own.
    kept = {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPATH": paths}
    environment = {**os.environ, **kept, "HASHGRAIN_MODEL": "small"}
    begun = time.perf_counter()
    command = [sys.executable, "-c", script, *map(str, arguments)]
    printed = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE).stdout
    return float(printed) if printed.strip() else time.perf_counter() - begun


def shown(seconds: float) -> str:
    return f"{seconds:.3f} s" if seconds > 0.1 else f"{1000 * seconds:.3g} ms"


def pairs(
    sources: dict[str, Path],
    script: str,
    places: dict[str, list[object]],
    again: Path | None = None,
    count: int = PAIRS,
) -> list[str]:
    """Median seconds of each version, and the median of the pairs' ratios. `again` is removed before every run."""
    found: dict[str, list[float]] = {name: [] for name in sources}
    for number in range(count + 1):
        for name in sorted(sources, reverse=bool(number % 2)):
            if again is not None:
                shutil.rmtree(again, ignore_errors=True)
            seconds = timed(sources[name], script, *places[name])
            if number:  # the first pair warms the page cache
                found[name].append(seconds)
    ratios = sorted(after / before for before, after in zip(found["before"], found["after"], strict=True))
    low, high = ratios[0], ratios[-1]
    medians = [shown(statistics.median(found[name])) for name in ("before", "after")]
    return [f"**{statistics.median(ratios):.3f}**", f"{low:.3f} to {high:.3f}", *medians]


def main() -> None:
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    table_of_pictures = need_data() / "tiny-imagenet-200/val-00-of-01.parquet"
    sources = {"before": Path(sys.argv[1]).resolve() / "src", "after": HERE.parent / "src"}
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        some = folder / "some"
        some.mkdir()
        for number, source in zip(range(PICTURES), find(table_of_pictures), strict=False):
            assert isinstance(source, Source)
            (some / f"{number:05}.jpg").write_bytes(source.load())
        new = folder / "new.hg"
        every = {which: [new, some] for which in sources}
        rows.append([f"`add` {PICTURES:,} pictures to a new library", *pairs(sources, ADD, every, new)])
        keep = Path(sys.argv[2])
        keep.mkdir(exist_ok=True)
        million = {which: keep / f"{which}.hg" for which in sources}
        for which, source in sources.items():
            if not million[which].exists():
                timed(source, BUILD, million[which])
        for what, script, more in (
            (f"open a library of {N:,}", OPEN, [N]),
            (f"100 searches by id in {N:,}, with start and opening", SEARCH, []),
            ("1 search with a filter on metadata, the first of a process", FILTER, []),
        ):
            rows.append([what, *pairs(sources, script, {which: [million[which], *more] for which in sources})])
    text = f"""Whole processes, the version before format 3 and this one in turn, {PAIRS} pairs each, files in the page
cache; the median of the pairs' ratios, and the least and greatest. The first filter of a process reads and checks every
page of the catalogue.

{table(["what", "after / before", "range", "before", "after"], rows)}
"""
    write_section("f-trust", "What trust costs", "python benchmarks/trust_costs.py BEFORE KEEP", text)


if __name__ == "__main__":
    main()
