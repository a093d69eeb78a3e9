"""What every drill shares: the seed, short or long, a place in memory, the zygote, and where figures are kept."""

from __future__ import annotations

import json
import os
import random
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
ROOM = 1 << 30  # bytes a place in memory must have


def draws(name: str) -> random.Random:
    """The choices of one drill: the same for the same seed. `HASHGRAIN_DRILL_SEED` sets it."""
    print(f"{name}: seed {SEED} (replay: HASHGRAIN_DRILL_SEED={SEED}{' HASHGRAIN_DRILL=long' if LONG else ''})")
    return random.Random(f"{SEED} {name}")


def how_many(short: int, long: int) -> int:
    return long if LONG else short


def note(name: str, started: float, **figures: Any) -> None:
    """Keep the figures of one drill for the table of `make drills`."""
    figures = {"drill": name, "seconds": round(time.monotonic() - started, 1), **figures}
    print(json.dumps(figures))
    folder = os.environ.get("HASHGRAIN_DRILL_FIGURES")
    if folder:
        (Path(folder) / f"{name.replace(' ', '-').replace('/', '-')}.json").write_text(json.dumps(figures))


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
