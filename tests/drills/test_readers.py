"""Readers and writers that stay open while the library changes, is replaced, damaged or deleted."""

from __future__ import annotations

import time

import pytest

from drill_fixtures import SEED, demand_none, draws, how_many, note
from drill_fixtures import scratch as scratch
from drill_fixtures import world as world
from drill_fixtures import zygote as zygote
from world import CLOSED, KILLED, PARTED, PARTED_KILLED, READ, World

pytestmark = [pytest.mark.drill, pytest.mark.slow, pytest.mark.timeout(1500)]

SECONDS = 60.0


def places(world: World) -> dict[str, str]:
    """What the events need."""
    return {
        "more": str(world.more),
        "model": str(world.model),
        "other": str(world.other),
        "replacement": str(world.template(CLOSED)),
        "query": str(world.pictures / "002.png"),
    }


def broken_by(world: World, function: str, *arguments: object) -> list[str]:
    outcome = world.zygote.call(f"readers:{function}", *arguments, seconds=SECONDS)
    told = f"{function} {arguments[2:]}"
    if outcome.late:
        return [f"{told}: hangs"]
    if outcome.signal is not None:
        return [f"{told}: died of signal {outcome.signal}"]
    if outcome.code != 0:
        return [f"{told}: a traceback: {outcome.err.splitlines()[-1:]}"]
    return [f"{told}: {each}" for each in outcome.result]


def test_a_long_lived_reader_says_what_is_so_or_that_it_cannot(world: World) -> None:
    draw, started = draws("readers"), time.monotonic()
    tried, broken = how_many(12, 400), []
    for number in range(tried):
        world.begin(draw.choice((CLOSED, KILLED, READ, PARTED, PARTED_KILLED)))
        broken += broken_by(world, "live", world.library, places(world), f"{SEED} {number}")
    note("readers", started, 0, trials=tried, broken=len(broken))
    demand_none(broken, tried)


@pytest.mark.parametrize("event", ["deleted", "replaced", "made anew"])
@pytest.mark.parametrize("verb", ["remove", "add", "rebuild"])
def test_a_writer_whose_folder_is_gone_acknowledges_nothing(world: World, event: str, verb: str) -> None:
    world.begin(KILLED)
    demand_none(broken_by(world, "orphaned_writer", world.library, places(world), event, verb), 1)


@pytest.mark.parametrize("verb", ["remove", "rebuild"])
def test_a_forked_child_cannot_write_through_its_parents_connection(world: World, verb: str) -> None:
    world.begin(CLOSED)
    demand_none(broken_by(world, "forked_writer", world.library, places(world), verb), 1)


def test_a_page_is_written_where_thumbnails_are_damaged_or_the_picture_is_gone(world: World) -> None:
    broken = []
    for damage in ("emptied", "garbage", "folder", "gone"):
        world.begin(CLOSED)
        for file in (world.library / "thumbs").rglob("*.jpg"):
            if damage == "emptied":
                file.write_bytes(b"")
            elif damage == "garbage":
                file.write_bytes(b"\xff\xd8 no picture")
            elif damage == "folder":
                file.unlink()
                file.mkdir()
        picture = world.pictures / "001.jpg"
        aside = picture.with_name("aside")
        if damage == "gone":
            picture.rename(aside)
        page = world.out / "page.html"
        outcome = world.zygote.command("search", world.library, "--id", 2, "--html", page)
        if damage == "gone":
            aside.rename(picture)
        if outcome.code != 0 or outcome.traceback or not page.is_file():
            broken.append(f"thumbnails, {damage}: exit code {outcome.code}, {outcome.err[-200:]}")
    demand_none(broken, 4)
