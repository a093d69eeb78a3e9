"""Every verb meets a call that fails: no space, an error of the disk, no rights, too many files, half a write."""

from __future__ import annotations

import time

import pytest

from drill_fixtures import draws, how_many, note
from drill_fixtures import scratch as scratch
from drill_fixtures import world as world
from drill_fixtures import zygote as zygote
from trials import Fault, failing_calls, kills, meet, spread
from world import Verb, World, every_verb

pytestmark = [pytest.mark.drill, pytest.mark.timeout(1500)]


def meet_each(world: World, verb: Verb, faults: list[Fault]) -> tuple[int, int, list[str]]:
    """How many faults struck, the peak of memory, and what was broken."""
    struck, peak, broken = 0, 0, []
    for fault in faults:
        outcome, wrong = meet(world, verb, fault)
        struck += bool(outcome.hits)
        peak = max(peak, outcome.peak_mb)
        broken += [f"{verb.name}: {fault} at {outcome.what}: {each}" for each in wrong]
    return struck, peak, broken


def test_a_failing_call_of_any_verb_loses_nothing_and_is_said_in_a_line(world: World) -> None:
    draw, started = draws("failing calls"), time.monotonic()
    struck, peak, broken = 0, 0, []
    verbs = every_verb()
    for verb in verbs:
        verb.learn(world)
        hit, most, wrong = meet_each(world, verb, spread(draw, failing_calls(world, verb), how_many(5, 130)))
        struck, peak = struck + hit, max(peak, most)
        broken += wrong
    note("failing calls", started, verbs=len(verbs), trials=struck, broken=len(broken), peak_mb=peak)
    assert not broken, f"{len(broken)} promises broken in {struck} trials:\n" + "\n".join(broken)


def test_a_kill_at_any_call_of_any_verb_loses_nothing(world: World) -> None:
    draw, started = draws("kills"), time.monotonic()
    struck, peak, broken = 0, 0, []
    verbs = every_verb()
    for verb in verbs:
        verb.learn(world)
        hit, most, wrong = meet_each(world, verb, spread(draw, kills(world, verb), how_many(4, 250)))
        struck, peak = struck + hit, max(peak, most)
        broken += wrong
    note("kills at a call", started, verbs=len(verbs), trials=struck, broken=len(broken), peak_mb=peak)
    assert not broken, f"{len(broken)} promises broken in {struck} kills:\n" + "\n".join(broken)
