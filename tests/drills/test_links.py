"""Links inside a library from a stranger: nothing outside is read from, written to, cut, emptied or deleted."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import stat
import time
from pathlib import Path

import pytest

from disk_model import Disk, read_log
from drill_fixtures import demand_none, draws, how_many, note
from drill_fixtures import scratch as scratch
from drill_fixtures import world as world
from drill_fixtures import zygote as zygote
from shim import CHANGES, COUNT, Arm
from trials import manners
from world import CLOSED, KILLED, PARTED, PARTED_KILLED, Verb, World, every_verb

pytestmark = [pytest.mark.drill, pytest.mark.slow, pytest.mark.timeout(1500)]

PARTS = 2  # so that they spread over the cores
MEMORY_MB, SECONDS = 2_048, 25.0
SECRET = b"a secret of another user\n"
TARGETS = ("a file", "a folder", "/dev/zero", "a pipe", "nothing", "the thing itself, moved outside")


def outside(world: World) -> Path:
    """A folder that no library has any business with, as new."""
    folder = world.scratch / "outside"
    shutil.rmtree(folder, ignore_errors=True)
    for name in ("thumbs/ab/old-256.jpg", "thumbs/cd/new-256.jpg", "segments/000001.w00", "model/model.json", "file"):
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(SECRET * 9_000)
        os.utime(file, (1, 1))
    os.mkfifo(folder / "pipe")
    return folder


def fingerprint(folder: Path) -> dict[str, str]:
    """Every name below the folder, and what stands there."""
    found = {}
    for path in sorted(folder.rglob("*")):
        looked = path.lstat()
        content = hashlib.sha256(path.read_bytes()).hexdigest() if stat.S_ISREG(looked.st_mode) else ""
        found[str(path.relative_to(folder))] = f"{looked.st_mode:o} {looked.st_size} {content}"
    return found


def names_used(world: World, verb: Verb) -> set[str]:
    """Every name below the library that this verb makes or finds there, however briefly."""
    world.begin(verb.template)
    disk, log = Disk(world.root, in_order=False), world.scratch / "names.log"
    log.unlink(missing_ok=True)
    verb.run(world, arm=Arm((world.root,), COUNT, CHANGES, log=log))
    names = set(disk.after_power_cut("everything", random.Random(0)))
    for change in read_log(log):
        disk.apply(change)
        if change.kind in "CDR":
            names |= set(disk.after_power_cut("names only", random.Random(0)))
    return {name.partition("/")[2] for name in names if name.startswith("lib.hg/")}


def place_link(world: World, name: str, target: str, folder: Path) -> None:
    """The name inside the library becomes a link to that."""
    place = world.library / name
    if target == TARGETS[5] and os.path.lexists(place):
        shutil.move(place, folder / "moved")
        goal = folder / "moved"
    else:
        if place.is_dir() and not place.is_symlink():
            shutil.rmtree(place)
        elif os.path.lexists(place):
            place.unlink()
        goals = {"a folder": folder, "/dev/zero": Path("/dev/zero"), "a pipe": folder / "pipe", "nothing": folder / "x"}
        goal = folder / "thumbs" if name == "thumbs" and target == "a folder" else goals.get(target, folder / "file")
    place.parent.mkdir(parents=True, exist_ok=True)
    place.symlink_to(goal)


@pytest.mark.parametrize("part", range(PARTS))
def test_a_link_in_a_library_leads_no_verb_outside(world: World, part: int) -> None:
    draw, started = draws(f"links {part}"), time.monotonic()
    verbs = [verb for verb in every_verb() if verb.template in (CLOSED, KILLED, PARTED, PARTED_KILLED)][part::PARTS]
    chances: list[tuple[Verb, str, str]] = []
    for verb in verbs:
        # A name that differs from run to run cannot be lain in wait at.
        names = names_used(world, verb) & names_used(world, verb)
        chances += [(verb, name, target) for name in sorted(names) for target in TARGETS]
    draw.shuffle(chances)
    tried, broken, peak = 0, [], 0
    for verb, name, target in chances[: how_many(40, 1_250)]:
        folder = outside(world)
        world.begin(verb.template)
        place_link(world, name, target, folder)
        before = fingerprint(folder)
        outcome = verb.run(world, memory_mb=MEMORY_MB, seconds=SECONDS)
        tried, peak = tried + 1, max(peak, outcome.peak_mb)
        wrong = manners(outcome, SECONDS)
        after = fingerprint(folder)
        if after != before:
            changed = sorted(path for path in before.keys() | after.keys() if before.get(path) != after.get(path))
            wrong.append(f"outside was changed: {changed[:5]}")
        if SECRET.decode().strip() in outcome.out + outcome.err:
            wrong.append("a file outside was read and shown")
        broken += [f"{verb.name}, {name} links to {target}: {each}" for each in wrong]
    note("links", started, part, trials=tried, broken=len(broken), peak_mb=peak)
    demand_none(broken, tried)


def test_a_link_beside_a_library_is_not_followed_by_a_rebuild_with_another_model(world: World) -> None:
    """The names that `rebuild --model` uses beside a library may be links somebody else put there."""
    verb = next(verb for verb in every_verb() if verb.name == "rebuild --model")
    world.begin(verb.template)
    disk, log = Disk(world.root, in_order=False), world.scratch / "names.log"
    log.unlink(missing_ok=True)
    assert verb.run(world, arm=Arm((world.root,), COUNT, CHANGES, log=log)).code == 0
    beside = set()
    for change in read_log(log):
        disk.apply(change)
        tops = {name.partition("/")[0] for name in disk.after_power_cut("names only", random.Random(0))}
        beside |= tops - {"lib.hg", "out"}
    broken = []
    for name in sorted(beside):
        folder = outside(world)
        world.begin(verb.template)
        (world.root / name).symlink_to(folder)
        before = fingerprint(folder)
        outcome = verb.run(world)
        if fingerprint(folder) != before:
            broken.append(f"rebuild --model, {name}: outside was changed")
        broken += [f"rebuild --model, {name}: {each}" for each in manners(outcome, SECONDS)]

    demand_none(broken, len(beside))
