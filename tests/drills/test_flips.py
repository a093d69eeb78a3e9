"""One bit, or a little more, changes in any file of a library: never a wrong answer in silence."""

from __future__ import annotations

import json
import random
import shutil
import time
from collections import Counter
from pathlib import Path

import pytest

from client import Outcome
from drill_fixtures import demand_none, draws, how_many, note
from drill_fixtures import scratch as scratch
from drill_fixtures import world as world
from drill_fixtures import zygote as zygote
from world import CLOSED, KILLED, PARTED_KILLED, READ, World, fill

pytestmark = [pytest.mark.drill, pytest.mark.slow, pytest.mark.timeout(1500)]

ITEMS = 64
SECTOR = 512
VERIFY_ONLY = 0.0  # the share of flips that may give a wrong answer as long as `verify` tells


def make_damaged(draw: random.Random, library: Path) -> str:
    """Damage one file a little; what was done."""
    files = sorted(file for file in library.rglob("*") if file.is_file() and file.stat().st_size)
    weights = [0.2 if "thumbs" in file.parts else 1.0 for file in files]
    (file,) = draw.choices(files, weights)
    content = bytearray(file.read_bytes())
    at = draw.randrange(min(100, len(content))) if draw.random() < 0.25 else draw.randrange(len(content))
    name = f"{file.relative_to(library)} of {len(content)} bytes"
    how = draw.random()
    if how < 0.8:
        bit = draw.randrange(8)
        content[at] ^= 1 << bit
        what = f"bit {bit} of byte {at} of {name} flipped"
    elif how < 0.9:
        del content[at:]
        what = f"{name} cut after {at}"
    elif how < 0.97:
        start = at - at % SECTOR
        end = min(len(content), start + SECTOR)
        content[start:end] = bytes(end - start)
        what = f"sector at {start} of {name} zeroed"
    else:
        file.unlink()
        return f"{name} deleted"
    file.write_bytes(content)
    return what


class Flips:
    """A library in one state, its right answers, and the tally of what became of the damaged copies."""

    def __init__(self, world: World, state: str) -> None:
        self.world, self.state = world, state
        pictures = fill(world.scratch / "flipped", range(2000, 2000 + ITEMS))
        self.query = next(pictures.iterdir())
        self.template = world.scratch / f"flips-{state}.hg"
        world.make(self.template, pictures, state)
        self.right = world.scratch / f"right-{state}.json"
        self.fresh()
        answers = world.zygote.call("questions:asked", world.library, self.query)
        assert answers.code == 0, answers.err
        refused = {name: answer for name, answer in answers.result.items() if isinstance(answer, dict)}
        assert not any("refused" in answer for answer in refused.values()), refused
        self.right.write_text(json.dumps(answers.result))
        self.tally: Counter[str] = Counter()
        self.broken: list[str] = []

    def fresh(self) -> None:
        shutil.rmtree(self.world.root, ignore_errors=True)
        self.world.out.mkdir(parents=True)
        shutil.copytree(self.template, self.world.library)

    def judge(self, what: str, outcome: Outcome) -> None:
        if outcome.code != 0 or outcome.late:
            ended = outcome.err.splitlines()[-1:] or [f"signal {outcome.signal}"]
            self.broken.append(f"{self.state}: {what}: ended badly: {ended[0][:200]}")
            self.tally["ended badly"] += 1
            return
        wrong, problems = outcome.result["wrong"], outcome.result["problems"]
        if wrong and not problems:
            self.broken.append(f"{self.state}: {what}: wrong answers, verify says sound: {wrong}")
        kind = "wrong, verify says sound" if not problems else "found by verify only"
        refusals = "refused" if outcome.result["refused"] else "every answer right"
        self.tally[kind if wrong else refusals] += 1

    def flip(self, draw: random.Random) -> None:
        self.fresh()
        what = make_damaged(draw, self.world.library)
        arguments = (self.world.library, self.query, self.right)
        before = self.world.zygote.call("questions:compared", *arguments)
        self.judge(what, before)
        after = self.world.zygote.call("questions:rebuilt", *arguments)
        if after.code != 0 or after.late or after.result["wrong"]:
            self.judge(f"{what}, then rebuilt", after)
        elif after.result["said"] is None and not after.result["problems"] and not after.result["refused"]:
            self.tally["restored by rebuild"] += 1


def test_the_right_answers_are_right(world: World) -> None:
    """The oracle of the flips against plain Python: filters by hand, distances by counting bits."""
    flips = Flips(world, CLOSED)
    right = json.loads(flips.right.read_text())
    items = {item[0]: item for item in right["items"]}
    kept = {
        "format = 'jpeg'": lambda item: item[1].endswith("jpg"),
        "format = 'png'": lambda item: item[1].endswith("png"),
        "season >= 2012": lambda item: item[6]["season"] >= 2012,
        "mood = 'blue'": lambda item: item[6].get("mood") == "blue",
        "mood = 'red' and season < 2020": lambda item: item[6].get("mood") == "red" and item[6]["season"] < 2020,
        "width > 0": lambda item: True,
    }
    for where, holds in kept.items():
        assert {hit[0] for hit in right[where]} == {i for i, item in items.items() if holds(item)}, where
    size = len(right["codes"]) // len(items)
    codes = {i: int(right["codes"][n * size : (n + 1) * size], 16) for n, i in enumerate(sorted(items))}
    distances = {i: (codes[3] ^ code).bit_count() for i, code in codes.items() if i != 3}
    assert [(hit[2], hit[0]) for hit in right["by id, look"]] == sorted((d, i) for i, d in distances.items())


@pytest.mark.parametrize("state", [CLOSED, KILLED, READ, PARTED_KILLED])
def test_a_flipped_bit_in_any_file_is_never_a_wrong_answer_in_silence(world: World, state: str) -> None:
    draw, started = draws(f"flips {state}"), time.monotonic()
    flips, tried = Flips(world, state), how_many(9, 300)
    for _ in range(tried):
        flips.flip(draw)
    note("flips", started, state, trials=tried, broken=len(flips.broken), **flips.tally)
    demand_none(flips.broken, tried)
    # Told apart from a wrong answer in silence, and not wanted either: only `verify` would have said so.
    assert flips.tally["found by verify only"] <= VERIFY_ONLY * tried, flips.tally
