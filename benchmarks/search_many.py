"""Searching with 256 photographs at once: decoding alone, the network alone, both as `search_many` runs them."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import numpy as np

from hashgrain import Library
from hashgrain.media import DecodePool
from report import median_seconds, need_data, table, write_section

QUERIES, SINGLE = 256, 32
MODELS = ("photo", "small")


def files() -> list[Path]:
    """The photographs, gone through again until there are enough."""
    paths = sorted(need_data().glob("photos/*.jpg"))
    return (paths * (QUERIES // len(paths) + 1))[:QUERIES]


def rows_of(model: str, folder: Path) -> list[str]:
    paths, cores = files(), os.cpu_count() or 1
    contents = [path.read_bytes() for path in paths]
    with Library.create(folder / f"{model}.hg", model) as library:
        library.add(paths)
        encoder = library.encoder
        with DecodePool(encoder.bundle.size, workers=cores) as pool:
            pixels = np.stack([picture.pixels for _, picture in pool.decode(enumerate(contents))])
            decoding = median_seconds(lambda: [None for _ in pool.decode(enumerate(contents))])
        network = median_seconds(lambda: encoder.outputs(pixels))
        both = median_seconds(lambda: library.search_many(paths))
        single = median_seconds(lambda: [library.search(path) for path in paths[:SINGLE]], 3) / SINGLE
    slower, shared = max(decoding, network), decoding + network
    figures = [f"{QUERIES / seconds:.0f}" for seconds in (decoding, network, both)] + [f"{1 / single:.0f}"]
    return [f"`{model}`", *figures, f"{slower / both:.2f}", f"{shared / both:.2f}"]


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        rows = [rows_of(model, Path(folder)) for model in MODELS]
    columns = [
        "model",
        "decoding",
        "network",
        "**`search_many`**",
        "`search`, one by one",
        "of the slower stage",
        "of both",
    ]
    text = f"""{QUERIES} photographs of ordinary size from files, against a library of the same; pictures a second.
Medians. Each stage alone has every core. "Of the slower stage" compares `search_many` with that stage alone; "of both"
with what all cores can do, since both stages share them: the time of decoding alone and of the network alone, added up.

{table(columns, rows)}
"""
    write_section("2c-search-many", "Many queries at once", "python benchmarks/search_many.py", text)


if __name__ == "__main__":
    main()
