"""Kill -9 at 30 random moments of an `add` of 5,000 pictures: nothing lost, nothing encoded twice."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np

from hashgrain import Encoder, Library
from report import need_data, table, write_section

PICTURES, KILLS, SEED = 5_000, 30, 7


class CountingEncoder(Encoder):
    """Writes down what it encodes before it does, so that even a killed run has told."""

    log: Path

    def codes(self, pixels):  # type: ignore[no-untyped-def]
        with self.log.open("ab") as log:
            log.writelines(f"{hash(picture.tobytes())}\n".encode() for picture in pixels)
        return super().codes(pixels)


def add(library: Path, pictures: Path, log: Path) -> None:
    """What the child process does."""
    encoder = CountingEncoder.load("small")
    encoder.log = log
    with Library.open_or_create(library, encoder) as opened:
        opened._query_encoder.encoder = encoder
        opened.add(pictures)


def start(library: Path, pictures: Path, log: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, __file__, str(library), str(pictures), str(log)]
    return subprocess.Popen(command, env={**os.environ, "PYTHONHASHSEED": "0"}, start_new_session=True)


def content(library: Path) -> list[tuple[int, str, str, bytes]]:
    with Library.open(library) as opened:
        codes, items = opened.codes()
        assert opened.verify() == [], opened.verify()
    return [(i.id, i.path, i.content, word.tobytes()) for i, word in zip(items, codes.words, strict=True)]


def write_pictures(folder: Path) -> None:
    import pyarrow.parquet as parquet

    table_ = parquet.read_table(need_data() / "tiny-imagenet-200/train-00-of-04.parquet", columns=["image"])
    folder.mkdir()
    for i, row in enumerate(table_.slice(0, PICTURES).to_pylist()):
        (folder / f"{i:05}.jpg").write_bytes(row["image"]["bytes"])


def main() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        pictures, log = place / "pictures", place / "log"
        write_pictures(pictures)
        whole = place / "whole.hg"
        started = time.monotonic()
        assert start(whole, pictures, place / "log-whole").wait() == 0
        uninterrupted = time.monotonic() - started
        random.seed(SEED)
        killed = place / "killed.hg"
        kills = sound = 0
        while kills < KILLS:
            child = start(killed, pictures, log)
            # Enough to get somewhere in each life, little enough for 30 deaths: counted from its first commit on.
            try:
                child.wait(timeout=random.uniform(0.3, 0.3 + 2.2 * uninterrupted / KILLS))
                break
            except subprocess.TimeoutExpired:
                os.killpg(child.pid, signal.SIGKILL)
                child.wait()
                kills += 1
            if (killed / "catalogue.sqlite").exists():
                with Library.open(killed, "w") as opened:
                    sound += not [problem for problem in opened.verify() if not problem.harmless]
        assert start(killed, pictures, log).wait() == 0
        same = content(killed) == content(whole)
        times = np.array(list(Counter(log.read_bytes().split()).values()))
        once = len(Counter((place / "log-whole").read_bytes().split()))
        rows = [
            ["kills", kills],
            ["libraries sound after a kill", f"{sound} (of those that existed)"],
            ["final content equal to an uninterrupted run (ids, paths, hashes, codes)", same],
            ["pictures encoded, uninterrupted", once],
            ["encoded again because of the kills", int((times - 1).sum())],
            ["of those, per kill (a batch is 64)", f"{(times - 1).sum() / max(1, kills):.1f}"],
            ["most kills in whose batch one picture was", int(times.max() - 1)],
        ]
        text = f"Uninterrupted: {uninterrupted:.1f} s for {PICTURES} pictures. Seed {SEED}.\n\n" + table(["", ""], rows)
        write_section("3-kill", "Killed adds", "python benchmarks/kill_add.py", text)
        assert same
        assert (times - 1).sum() <= 64 * kills


if __name__ == "__main__":
    if len(sys.argv) == 4:
        add(*map(Path, sys.argv[1:]))
    else:
        main()
