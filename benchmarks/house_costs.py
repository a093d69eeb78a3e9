"""What the second edition of the house costs: the commit before it and this one, pair by pair on the same machine.

Takes the folder of a checkout of the commit before (6adf28d), with its kernels built, and a folder to keep the large
libraries in for the next run: python benchmarks/house_costs.py BEFORE KEEP
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from hashgrain.sources import Source, find
from hashgrain.store import migrate
from report import HERE, need_data, table, write_section
from trust_costs import BUILD, OPEN, PAIRS, N, pairs, timed

PICTURES, CODES, MORE = 5_000, 1_000_000, 9
IMPORT = "from hashgrain import Library"
QUERY = """
import sys
from hashgrain import Library
with Library.open(sys.argv[1]) as library:
    assert len(library.search(sys.argv[2])) == 10
"""
ADD = """
import sys
from hashgrain import Library
with Library.open_or_create(sys.argv[1]) as library:
    assert library.add(sys.argv[2]).added == int(sys.argv[3])
"""
# These print the seconds that are meant, so that starting a process does not hide them.
SCAN = f"""
import statistics, time
import numpy as np
from hashgrain.hamming import nearest, rows_of
dice = np.random.default_rng(0)
words, queries = (dice.integers(0, 2**64, (n, 2), np.uint64) for n in ({CODES}, 200))
parts, times = [rows_of(words)], []
for query in queries:
    begun = time.perf_counter()
    nearest(query[None], parts, 10, bits=128)
    times.append(time.perf_counter() - begun)
print(statistics.median(times))
"""
INDEX = f"""
import statistics, time
import numpy as np
from hashgrain.hamming import build_tables, nearest, rows_of
dice = np.random.default_rng(0)
words = dice.integers(0, 2**64, ({CODES}, 1), np.uint64)
queries = words[:1000] ^ (np.uint64(1) << dice.integers(0, 64, (1000, 1), np.uint64))
parts, times = [rows_of(words)], []
index = build_tables(parts, 0, {CODES}, 64)
for query in queries:
    begun = time.perf_counter()
    nearest(query[None], parts, 1, bits=64, indexes=[index])
    times.append(time.perf_counter() - begun)
print(statistics.median(times))
"""
EVALUATION = """
import time
from evaluation import made, ours
data = made(10_000, 50_000)
begun = time.perf_counter()
ours(*data, 2)
print(time.perf_counter() - begun)
"""
TRAINING = """
import sys
from pathlib import Path
import torch
from training_speed import SIZE, Aim, load_labelled, our_loop
torch.set_num_threads(2)
data = load_labelled(Path(sys.argv[1]), SIZE, ("kind", "thing"), cache=Path(sys.argv[2]))
print(1 / our_loop(data, Aim("csq")))
"""
HEAD = """
import torch
from training_speed import head_epoch
torch.set_num_threads(2)
print(head_epoch())
"""
Places = dict[str, list[object]]


def rows(sources: dict[str, Path], keep: Path, folder: Path) -> Iterator[list[str]]:
    def row(
        what: str, script: str, places: Places | None = None, again: Path | None = None, count: int = PAIRS
    ) -> list[str]:
        found = [what, *pairs(sources, script, places or {which: [] for which in sources}, again, count)]
        print(*found, flush=True)
        return found

    yield row("`from hashgrain import Library`", IMPORT, count=MORE)
    million = {which: keep / f"{which}.hg" for which in sources}
    if not million["after"].exists():
        timed(sources["before"], BUILD, million["before"])
        shutil.copytree(million["before"], million["after"])
        migrate(million["after"])
    picture = str(next(iter(sorted(need_data().glob("photos/*.jpg")))))
    yield row(f"open a library of {N:,}", OPEN, {which: [million[which], N] for which in sources}, count=MORE)
    asked: Places = {which: [million[which], picture] for which in sources}
    yield row(f"open a library of {N:,} and ask it with a photograph", QUERY, asked, count=MORE)
    yield row(f"scan of {CODES:,} codes of 128 bits, k 10", SCAN)
    yield row(f"index of {CODES:,} codes of 64 bits, k 1", INDEX)
    some, new = folder / "some", folder / "new.hg"
    some.mkdir()
    table_of_pictures = need_data() / "tiny-imagenet-200/val-00-of-01.parquet"
    for number, source in zip(range(PICTURES), find(table_of_pictures), strict=False):
        assert isinstance(source, Source)
        (some / f"{number:05}.jpg").write_bytes(source.load())
    adding: Places = {which: [new, some, PICTURES] for which in sources}
    yield row(f"`add` of {PICTURES:,} pictures to a new library", ADD, adding, new, MORE)
    yield row("mAP of 10,000 queries over 50,000 codes", EVALUATION)
    training: Places = {which: [need_data() / "tiny-imagenet-200", keep / f"tiny-{which}"] for which in sources}
    yield row("training, a picture at 64 px (csq)", TRAINING, training, count=MORE)
    yield row("training, an epoch of a head on 50,000 features", HEAD)


def main() -> None:
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    keep = Path(sys.argv[2])
    keep.mkdir(exist_ok=True, parents=True)
    sources = {"before": Path(sys.argv[1]).resolve() / "src", "after": HERE.parent / "src"}
    with tempfile.TemporaryDirectory() as folder:
        every = list(rows(sources, keep, Path(folder)))
    text = f"""The commit before the second edition of the house (6adf28d) and this one in turn, {PAIRS} pairs
each, {MORE} of importing, opening, asking, adding and training; the model `small`, files in the page cache; the
median of the pairs' ratios, and the least and greatest. Importing, opening, asking and adding are whole processes.

{table(["what", "after / before", "range", "before", "after"], every)}
"""
    write_section("g-house", "What the house costs", "python benchmarks/house_costs.py BEFORE KEEP", text)


if __name__ == "__main__":
    main()
