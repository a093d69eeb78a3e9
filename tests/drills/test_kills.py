"""Every verb is killed: at each call that changes something, and, as a process of its own, at random moments."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest

from drill_fixtures import demand_none, draws, how_many, note
from drill_fixtures import scratch as scratch
from drill_fixtures import world as world
from drill_fixtures import zygote as zygote
from oracle import lost_or_wrong, same
from trials import kills, meet_each, spread
from world import NO_LIBRARY, World, every_verb, fill

PARTS = 4  # so that they spread over the cores
pytestmark = [pytest.mark.drill, pytest.mark.slow, pytest.mark.timeout(1500)]

MANY = 300  # pictures of a real add: several batches
OUTLIVE_S = 10.0  # how long a worker may take to notice that its parent is gone


@pytest.mark.parametrize("part", range(PARTS))
def test_a_kill_at_any_call_of_any_verb_loses_nothing(world: World, part: int) -> None:
    draw, started = draws(f"kills {part}"), time.monotonic()
    struck, peak, broken = 0, 0, []
    verbs = every_verb()[part::PARTS]
    for verb in verbs:
        verb.learn(world)
        hit, most, wrong = meet_each(world, verb, spread(draw, kills(world, verb), how_many(3, 400)))
        struck, peak = struck + hit, max(peak, most)
        broken += wrong
    note("kills at a call", started, part, verbs=len(verbs), trials=struck, broken=len(broken), peak_mb=peak)
    demand_none(broken, struck)


def start_add(world: World, pictures: Path, tag: str) -> subprocess.Popen[bytes]:
    """A real `add` in a process of its own, with real workers, recognizable by its environment."""
    command = [
        sys.executable,
        "-m",
        "hashgrain",
        "add",
        world.library,
        pictures,
        "--model",
        world.model,
        "--workers",
        "1",
    ]
    environment = {**os.environ, "HASHGRAIN_DRILL_TAG": tag, "HASHGRAIN_CONFIG": str(world.scratch / "no-config")}
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def alive(tag: str) -> list[int]:
    """The processes that carry the tag."""
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            try:
                if tag.encode() in (process / "environ").read_bytes():
                    found.append(int(process.name))
            except OSError:
                continue
    return found


def outlived(tag: str) -> bool:
    """Whether something of a killed run goes on."""
    end = time.monotonic() + OUTLIVE_S
    while alive(tag) and time.monotonic() < end:
        time.sleep(0.05)
    left = alive(tag)
    for process in left:
        os.kill(process, signal.SIGKILL)
    return bool(left)


def test_adds_killed_at_random_moments_lose_nothing_and_leave_no_worker(world: World) -> None:
    draw, started = draws("killed adds"), time.monotonic()
    pictures = fill(world.scratch / "many", range(1000, 1000 + MANY))
    world.begin(NO_LIBRARY)
    began = time.monotonic()
    assert start_add(world, pictures, "whole").wait() == 0
    whole = time.monotonic() - began
    wanted = world.look()["state"]
    world.begin(NO_LIBRARY)
    struck, broken, before = 0, [], None
    wished = how_many(2, 60)
    while struck < wished:
        tag = uuid.uuid4().hex
        adding = start_add(world, pictures, tag)
        try:
            adding.wait(timeout=draw.uniform(0.3, 1.0) * whole)
        except subprocess.TimeoutExpired:
            adding.kill()
            adding.wait()
            struck += 1
        else:  # it got to its end: begin anew
            world.begin(NO_LIBRARY)
            before = None
            continue
        if outlived(tag):
            broken.append(f"kill {struck}: a worker outlived its parent by {OUTLIVE_S} s")
        seen = world.look()
        wrong = lost_or_wrong(seen["state"], before, wanted)
        missing: set[str] = set(before["items"] if before else ()) - set(
            seen["state"]["items"] if seen["state"] else ()
        )
        if wrong or missing:
            broken.append(f"kill {struck}: {wrong}, lost {sorted(missing)} ({seen['error']})")
        if seen["state"] and seen["problems"]:
            broken.append(f"kill {struck}: verify says {seen['problems'][:2]}")
        before = seen["state"]
    last = start_add(world, pictures, "last")
    said = last.communicate()[1].decode()
    unlike = same(world.look()["state"], wanted, ids=False)
    if last.returncode != 0 or unlike:
        broken.append(f"the add after all kills: {last.returncode}, {unlike}, {said}")
    note("killed adds", started, 0, trials=struck, broken=len(broken))
    demand_none(broken, struck)
