"""Removing one item, and a folder of a hundred, by path from a library of a million."""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

from hashgrain import Codes, Library
from made_codes import real
from report import table, write_section

N, FOLDERS, RUNS = 1_000_000, 10_000, 21


def build(path: Path) -> float:
    words, _ = real(N, 128, 1)
    begun = time.perf_counter()
    with Library.create(path, "small") as library:
        names = [f"/pictures/{i % FOLDERS:05}/{i:07}.jpg" for i in range(N)]
        library.import_codes(Codes(words, library.grains), names, look=False)
        library.index()
    return time.perf_counter() - begun


def timed(library: Library, paths: list[str]) -> list[float]:
    """Milliseconds of each removal."""
    found = []
    for path in paths:
        begun = time.perf_counter()
        removed = library.remove(path)
        found.append(1000 * (time.perf_counter() - begun))
        assert removed >= 1
    return found


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "million.hg"
        built = build(path)
        with Library.open(path, "w") as library:
            first = timed(library, ["/pictures/00000/0000000.jpg"])
            single = timed(library, [f"/pictures/{i:05}/{i:07}.jpg" for i in range(1, RUNS + 1)])
            folders = timed(library, [f"/pictures/{i:05}" for i in range(100, 100 + RUNS)])
            assert len(library) == N - RUNS - 1 - RUNS * (N // FOLDERS)
    rows = [
        [what, f"{statistics.median(times):.1f} ms", f"{max(times):.1f} ms"]
        for what, times in (
            ("the first one after opening", first),
            ("one item", single),
            (f"a folder of {N // FOLDERS}", folders),
        )
    ]
    text = f"""A library of {N:,} items with codes of 128 bits, made by `import_codes` in {built:.0f} s, on disk, its
files in the page cache; a path a removal, each durable when it returns. {RUNS} removals. Before the first, every page
of the catalogue is compared with its checksum.

{table(["removed", "median", "most"], rows)}
"""
    write_section("9-remove", "Removing by path", "python benchmarks/search/remove.py", text)


if __name__ == "__main__":
    main()
