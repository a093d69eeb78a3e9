"""Every verb meets a call that fails: no space, an error of the disk, no rights, too many files, half a write."""

from __future__ import annotations

import time

import pytest

from drill_fixtures import demand_none, draws, how_many, note
from drill_fixtures import scratch as scratch
from drill_fixtures import world as world
from drill_fixtures import zygote as zygote
from trials import failing_calls, meet_each, spread
from world import World, every_verb

PARTS = 4  # so that they spread over the cores
pytestmark = [pytest.mark.drill, pytest.mark.slow, pytest.mark.timeout(1500)]


@pytest.mark.parametrize("part", range(PARTS))
def test_a_failing_call_of_any_verb_loses_nothing_and_is_said_in_a_line(world: World, part: int) -> None:
    draw, started = draws(f"failing calls {part}"), time.monotonic()
    struck, peak, broken = 0, 0, []
    verbs = every_verb()[part::PARTS]
    for verb in verbs:
        verb.learn(world)
        hit, most, wrong = meet_each(world, verb, spread(draw, failing_calls(world, verb), how_many(2, 125)))
        struck, peak = struck + hit, max(peak, most)
        broken += wrong
    note("failing calls", started, part, verbs=len(verbs), trials=struck, broken=len(broken), peak_mb=peak)
    demand_none(broken, struck)
