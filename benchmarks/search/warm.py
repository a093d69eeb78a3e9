"""The first query of a fresh process, and the thousandth of a warm one, on a library of a million on disk."""

from __future__ import annotations

import hashlib
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from hashgrain import Library
from hashgrain.store import New
from made_codes import real
from report import table, write_section

N, AT_ONCE, RUNS = 1_000_000, 20_000, 9
FIRST = """
import sys, time
begun = time.perf_counter()
from hashgrain import Library
with Library.open(sys.argv[1]) as library:
    hits = library.search(7)
    first = time.perf_counter() - begun
    begun = time.perf_counter()
    library.search(8)
    print(first, time.perf_counter() - begun, len(hits))
"""


def build(path: Path, n: int = N) -> float:
    """Rows as `hashgrain add` would leave them, but for the pictures; with their indexes."""
    codes, _ = real(n, 128, 1)
    begun = time.perf_counter()
    with Library.create(path, "small") as library:
        for low in range(0, n, AT_ONCE):
            library.store.commit([_item(i, codes[i]) for i in range(low, min(n, low + AT_ONCE))])
        library.index()
    return time.perf_counter() - begun


def _item(i: int, code: object) -> New:
    content = hashlib.sha256(str(i).encode()).hexdigest()
    return New(f"/pictures/{i}.jpg", content, (1000, i), 640, 480, "JPEG", None, code)  # type: ignore[arg-type]


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "million.hg"
        built = build(library)
        found = []
        for _ in range(RUNS):
            begun = time.perf_counter()
            out = subprocess.run([sys.executable, "-c", FIRST, library], capture_output=True, text=True, check=True)
            whole = time.perf_counter() - begun
            first, second, hits = out.stdout.split()
            assert int(hits) == 10
            found.append((whole, float(first), float(second)))
        whole, first, second = (statistics.median(column) for column in zip(*found, strict=True))
        rows = [
            ["whole process, from start to exit", f"{whole:.2f} s"],
            ["import, open the library and check it, first query", f"{first:.2f} s"],
            ["second query", f"{1000 * second:.1f} ms"],
        ]
        text = f"""A library of {N:,} items with codes of 128 bits, on disk, its files in the page cache; queries by an
item's id, so that no picture is encoded. Nothing is compiled at run time. Medians of {RUNS} processes. The library
and its index were made in {built:.0f} s.

{table(["what", "median"], rows)}
"""
        write_section("9-search-warm", "First query of a fresh process", "python benchmarks/search/warm.py", text)


if __name__ == "__main__":
    main()
