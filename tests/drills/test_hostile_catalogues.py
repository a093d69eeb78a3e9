"""A library from a stranger: whatever its catalogue holds, every verb ends in time, in memory, and in a line."""

from __future__ import annotations

import json
import random
import time
from collections import Counter
from typing import Any

import pytest

import hostile
from drill_fixtures import demand_none, draws, how_many, note
from drill_fixtures import scratch as scratch
from drill_fixtures import world as world
from drill_fixtures import zygote as zygote
from trials import manners
from world import CLOSED, PARTED, World
from zygote import SAID

pytestmark = [pytest.mark.drill, pytest.mark.slow, pytest.mark.timeout(1500)]

PARTS = 2  # so that they spread over the cores
MEMORY_MB = 2_048
SECONDS = 25.0


def questions(world: World) -> dict[str, list[Any]]:
    return {
        "info": ["info", world.library],
        "verify": ["verify", world.library, "--json"],
        "search": ["search", world.library, "--id", 3, "--json"],
        "parts": ["search", world.library, "--id", 2, "--parts", "--json"],
        "filter": ["search", world.library, world.pictures / "002.png", "--where", "format = 'png'", "--jsonl"],
        "export": ["export", world.library],
        "add": ["add", world.library, world.more, "--workers", 0],
        "remove": ["remove", world.library, "--id", 7],
        "update": ["update", world.library],
        "rebuild": ["rebuild", world.library],
    }


READS, CHANGES = ("info", "verify", "search", "parts", "filter", "export"), ("add", "remove", "update", "rebuild")


def half_told(world: World, what: str, asked: dict[str, list[Any]]) -> list[str]:
    """A library that `verify` calls sound exports every item that `info` counts."""
    limits = {"memory_mb": MEMORY_MB, "seconds": SECONDS}
    sound = world.zygote.command(*asked["verify"], **limits)
    if sound.code != 0:
        return []
    count = world.zygote.command(*asked["info"], "--json", **limits)
    lines = world.zygote.command(*asked["export"], **limits)
    if count.code != 0 or lines.code != 0 or len(lines.out) >= SAID:  # said, or too long to have been handed on
        return []
    items, exported = json.loads(count.out)["items"], lines.out.count("\n")
    return [] if items == exported else [f"{what}: verify says sound, export gives {exported} of {items} in silence"]


def attacked(world: World, draw: random.Random, tally: Counter[str]) -> tuple[list[str], int]:
    world.begin(draw.choice((CLOSED, PARTED)))
    what = hostile.attack(draw, world.library)
    asked = questions(world)
    broken, peak = half_told(world, what, asked), 0
    for verb in (draw.choice(READS), draw.choice(READS), draw.choice(CHANGES)):
        outcome = world.zygote.command(*asked[verb], memory_mb=MEMORY_MB, seconds=SECONDS)
        peak = max(peak, outcome.peak_mb)
        tally[f"exit {outcome.code}"] += 1
        broken += [f"{what}, {verb}: {each}" for each in manners(outcome, SECONDS)]
        if outcome.late:
            break
    return broken, peak


@pytest.mark.parametrize("part", range(PARTS))
def test_a_hostile_catalogue_ends_in_a_line_in_time_and_within_memory(world: World, part: int) -> None:
    draw, started = draws(f"hostile catalogues {part}"), time.monotonic()
    tried, peak, broken = how_many(24, 600), 0, []
    tally: Counter[str] = Counter()
    for _ in range(tried):
        wrong, most = attacked(world, draw, tally)
        broken += wrong
        peak = max(peak, most)
    note("hostile catalogues", started, part, trials=tried, broken=len(broken), peak_mb=peak, **tally)
    demand_none(broken, tried)
