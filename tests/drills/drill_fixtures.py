"""What every drill shares: the seed, short or long, a place in memory, the zygote, and where figures are kept."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import shim
from client import Zygote
from world import World

LONG = os.environ.get("HASHGRAIN_DRILL") == "long"
SEED = int(os.environ.get("HASHGRAIN_DRILL_SEED", "1"))
MOST = 40  # broken promises to show
ROOM = 1 << 30  # bytes a place in memory must have


def draws(name: str) -> random.Random:
    """The choices of one drill: the same for the same seed. `HASHGRAIN_DRILL_SEED` sets it."""
    print(f"{name}: seed {SEED} (replay: HASHGRAIN_DRILL_SEED={SEED}{' HASHGRAIN_DRILL=long' if LONG else ''})")
    return random.Random(f"{SEED} {name}")


def how_many(short: int, long: int) -> int:
    return long if LONG else short


def note(name: str, started: float, part: object, **figures: Any) -> None:
    """Keep the figures of a drill, or of one part of it, for the table of `make drills`."""
    figures = {"drill": name, "seconds": round(time.monotonic() - started, 1), **figures}
    print(json.dumps(figures))
    folder = os.environ.get("HASHGRAIN_DRILL_FIGURES")
    if folder:
        Path(folder).mkdir(parents=True, exist_ok=True)
        (Path(folder) / f"{name} {part}.json").write_text(json.dumps(figures))


def demand_none(broken: list[str], tried: int) -> None:
    """Fail with the promises that were broken, each kind once and short."""
    if not broken:
        return
    lines = [re.sub(r"\S*hashgrain-drill-[^/ ]+", "…", line.replace("\n", " "))[:400] for line in broken]
    kinds = {re.sub(r"\d+", "#", re.split("[,:] ", line, maxsplit=1)[-1])[:120]: line for line in reversed(lines)}
    shown = list(kinds.values())[::-1][:MOST]
    pytest.fail(f"{len(broken)} promises broken in {tried} trials, such as:\n" + "\n".join(shown), pytrace=False)


@pytest.fixture(scope="session")
def scratch() -> Iterator[Path]:
    """A folder in memory where there is room, so that a sync costs nothing."""
    memory = Path("/dev/shm")
    roomy = memory.is_dir() and os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > ROOM
    folder = Path(tempfile.mkdtemp(prefix="hashgrain-drill-", dir=memory if roomy else None)).resolve()
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def zygote(scratch: Path) -> Iterator[Zygote]:
    reason = shim.why_not()
    if reason:
        pytest.skip(reason)
    started = Zygote(shim.build(scratch), scratch)
    yield started
    started.close()


@pytest.fixture(scope="session")
def world(scratch: Path, zygote: Zygote) -> World:
    return World(scratch, zygote)
