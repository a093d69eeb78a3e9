"""The power is cut after any change of a verb, with whatever was not synced kept, lost or torn."""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from client import Outcome
from disk_model import STYLES, Change, Disk, read_log, write_tree
from drill_fixtures import LONG, demand_none, draws, how_many, note
from drill_fixtures import scratch as scratch
from drill_fixtures import world as world
from drill_fixtures import zygote as zygote
from oracle import State, lost_or_wrong, mixed
from shim import CHANGES, COUNT, Arm
from trials import again
from world import NO_LIBRARY, Verb, World, every_verb
from writers import LIVES

pytestmark = [pytest.mark.drill, pytest.mark.slow, pytest.mark.timeout(1500)]


@dataclass
class Recording:
    """What a program did to the disk, and the states it acknowledged in between."""

    name: str
    verb: Verb | None
    disks: tuple[Disk, Disk]  # as it was before, on a file system that keeps names in order and on one that does not
    changes: list[Change]
    states: list[State | None]
    one_step: bool  # whether each of them is one commit: the library is in one of two states, and never between


def record(world: World, template: str, run: Callable[[Arm], Outcome]) -> tuple[tuple[Disk, Disk], list[Change]]:
    world.begin(template)
    disks = (Disk(world.root, in_order=False), Disk(world.root, in_order=True))
    log = world.scratch / "changes.log"
    log.unlink(missing_ok=True)
    outcome = run(Arm((world.root,), COUNT, CHANGES, log=log))
    assert outcome.code in (0, 3), outcome.err
    changes = read_log(log)
    mapped = [change.text for change in changes if change.kind == "P"]
    assert all(path.endswith(b"-shm") for path in mapped), f"written through a map, which is not recorded: {mapped}"
    return disks, changes


def record_verb(world: World, verb: Verb) -> Recording:
    verb.learn(world)
    disks, changes = record(world, verb.template, lambda arm: verb.run(world, arm=arm))
    states = [verb.before, verb.after, verb.after]
    return Recording(verb.name, verb, disks, changes, states, verb.one_step)


def record_life(world: World, life: str, *arguments: object) -> Recording:
    """A life of `writers`, and its state after each step."""
    states: list[State | None] = [None]

    def live(steps: int, arm: Arm | None = None) -> Outcome:
        return world.zygote.call(f"writers:{life}", world.library, *arguments, steps, arm=arm, marks=True)

    for steps in range(LIVES[life] + 1):
        world.begin(NO_LIBRARY)
        lived = live(steps)
        assert lived.code == 0, lived.err
        states.append(world.look()["state"])
    disks, changes = record(world, NO_LIBRARY, lambda arm: live(LIVES[life], arm))
    return Recording(life, None, disks, changes, [*states, states[-1], states[-1]], life == "life_with_parts")


def moments_of(recording: Recording, draw: random.Random, count: int) -> list[int]:
    """So many moments, each as often as the others. Of one step the long form takes every moment."""
    every = range(len(recording.changes) + 1)
    count = max(count, len(every)) if LONG and recording.one_step else count
    return sorted([*(list(every) * (count // len(every))), *draw.sample(every, count % len(every))])


def cut_power(world: World, recording: Recording, disk: Disk, draw: random.Random, count: int) -> tuple[int, list[str]]:
    """So many power cuts at moments of this recording; what was broken."""
    moments = moments_of(recording, draw, count)
    done = acknowledged = tried = 0
    broken = []
    for moment in moments:
        for change in recording.changes[done:moment]:
            disk.apply(change)
            acknowledged += change.kind == "M"
        done = moment
        style = draw.choice(STYLES)
        tree = disk.after_power_cut(style, draw)
        tried += 1
        where = f"{recording.name}: change {moment} of {len(recording.changes)}, {style}, acknowledged {acknowledged}"
        broken += [f"{where}: {each}" for each in _look_at(world, recording, tree, acknowledged)]
    return tried, broken


def _look_at(world: World, recording: Recording, tree: dict[str, bytes | None], acknowledged: int) -> list[str]:
    shutil.rmtree(world.root, ignore_errors=True)
    world.out.mkdir(parents=True)
    write_tree(world.root, tree)
    before, after = recording.states[acknowledged : acknowledged + 2]
    seen = world.look()
    broken = []
    wrong = (mixed if recording.one_step else lost_or_wrong)(seen["state"], before, after)
    if wrong:
        broken.append(f"{wrong} ({seen['error']})")
    if before is not None and seen["problems"]:
        broken.append(f"verify says {seen['problems'][:2]}")
    if recording.verb is not None:
        broken += again(world, recording.verb)
    elif before is not None:  # whoever goes on writing finds all of it again
        more = world.zygote.command("add", world.library, world.more, "--workers", 0)
        now = world.look()
        kept = now["state"]["items"] if now["state"] else {}
        lost = [path for path in before["items"] if path not in kept and after and path in after["items"]]
        if more.code != 0 or lost or now["problems"]:
            broken.append(f"adding more afterwards: {more.code}, lost {lost}, {now['problems'][:2]} {more.err[-300:]}")
    return broken


@pytest.mark.parametrize("in_order", [False, True], ids=["names in any order", "names in order"])
def test_a_power_cut_at_any_moment_loses_nothing_that_was_acknowledged(world: World, in_order: bool) -> None:
    draw, started = draws(f"power loss {in_order}"), time.monotonic()
    recordings = [
        lambda: record_life(world, "whole_life", world.model, world.other, world.pictures),
        lambda: record_life(world, "life_with_parts", world.model),
    ]
    recordings += [lambda verb=verb: record_verb(world, verb) for verb in every_verb() if verb.reads is None]
    tried = 0
    broken: list[str] = []
    for make in recordings:
        recording = make()
        share = how_many(2, 50) * (1 if recording.verb else 6)
        cuts, wrong = cut_power(world, recording, recording.disks[in_order], draw, share)
        tried, broken = tried + cuts, broken + wrong
    note("power loss", started, int(in_order), recordings=len(recordings), trials=tried, broken=len(broken))
    demand_none(broken, tried)
