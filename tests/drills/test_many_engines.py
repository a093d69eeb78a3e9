"""Every engine gives the same answers about the same library, ties included, and a killed database loses nothing."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from contracts.test_engines import fed, over_segments
from databases import Server, in_clickhouse, in_postgresql, postgresql, programs
from drill_fixtures import demand_none, draws, how_many, note
from hashgrain import Codes, Grains, Library
from hashgrain.engines import EmbeddedEngine, Engine
from hashgrain.engines.postgresql import PostgreSql
from hashgrain.engines.sql import SqlEngine
from hashgrain.errors import EngineError
from hashgrain.hamming import Neighbours
from hashgrain.store import Change, New
from plain_engine import NumpyEngine

pytestmark = [pytest.mark.drill, pytest.mark.slow, pytest.mark.timeout(1500)]

PARTS = 2  # so that they spread over the cores
ASKED = 34  # questions about a library
GRAINS = (
    Grains(kind=16, thing=40, look=128),
    Grains(kind=32, thing=64, look=128),
    Grains(kind=48, thing=96, look=256),
    Grains(kind=16, look=48),
    Grains(look=64),
)


@pytest.mark.parametrize("part", range(PARTS))
def test_every_engine_answers_as_plain_numpy_does(part: int) -> None:
    pytest.importorskip("psycopg", reason="needs hashgrain[postgresql]")
    draw, started = draws(f"questions to engines {part}"), time.monotonic()
    tried, tied, broken = 0, 0, []
    for number in range(how_many(3, 152)):
        grains = draw.choice(GRAINS)
        changes = list(history(draw, grains))
        oracle = fed(NumpyEngine(grains), changes)
        engines = engines_of(grains, changes)
        for _ in range(ASKED):
            codes, options = question(draw, grains, changes)
            expected = asked(oracle, codes, options)
            tried, tied = tried + 1, tied + ties_at_the_cut(oracle, codes, options)
            for name, engine in engines.items():
                if asked(engine, codes, options) != expected:
                    broken.append(f"library {number} with {grains}, {name}: {options}")
        for engine in engines.values():
            if isinstance(engine, SqlEngine):
                engine.dialect.drop_tables()
            engine.close()
    note("questions to engines", started, part, trials=tried, broken=len(broken), cut_through_ties=tied)
    demand_none(broken, tried)
    assert tied > tried * how_many(10, 33) / 100  # the short form is of few libraries


def engines_of(grains: Grains, changes: list[Change]) -> dict[str, Engine]:
    engines: dict[str, Engine] = {
        "embedded": fed(EmbeddedEngine([], grains), changes),
        "over segments": over_segments(changes, grains=grains),
        "with indexes": over_segments(changes, indexed=True, grains=grains),
    }
    if programs() is not None:
        engines["postgresql"] = in_postgresql(grains, changes)
    if find_spec("chdb") is not None:
        engines["clickhouse"] = in_clickhouse(grains, changes)
    return engines


def history(draw: random.Random, grains: Grains) -> Iterator[Change]:
    """Items come, change and go, some with parts. Codes are a few bits off one of a few, so that ties abound."""
    rng = np.random.default_rng(draw.randrange(2**32))
    centers = rng.integers(0, 2**64, (draw.randrange(1, 9), grains.n_words), np.uint64)
    flips = draw.choice((0.0, 0.0, 0.0, 0.002, 0.01, 0.1))
    own = Codes.from_bits(np.ones((1, grains.bits), np.uint8), grains).words  # the bits that a code has

    def codes(n: int) -> NDArray[np.uint64]:
        changed = np.packbits(rng.random((n, 64 * grains.n_words)) < flips, axis=1, bitorder="little").view(np.uint64)
        return np.asarray((centers[rng.integers(0, len(centers), n)] ^ changed) & own)

    def coded(number: int, action: Any, item: int) -> Change:
        parts = codes(draw.randrange(1, 5)) if draw.random() < 0.3 else None
        return Change(number, action, item, codes(1)[0], parts)

    there: list[int] = []
    ids = iter(rng.permutation(5_000)[: draw.choice((2, 20, 100, 200))].tolist())
    for number, item in enumerate(ids, 1):
        chance = draw.random()
        if there and chance < 0.15:
            yield Change(number, "removed", there.pop(draw.randrange(len(there))), None)
        elif there and chance < 0.3:
            yield coded(number, "changed", draw.choice(there))
        else:
            there.append(item + 1)
            yield coded(number, "added", item + 1)


def question(draw: random.Random, grains: Grains, changes: list[Change]) -> tuple[Codes, dict[str, Any]]:
    """A code of the library, or one of none, and how it is asked."""
    known = [change.code for change in changes if change.code is not None]
    words = draw.choice(known)[None].copy()
    if draw.random() < 0.3:
        words[0, 0] ^= np.uint64(draw.randrange(2**16))
    grain = draw.choice(list(grains))
    options: dict[str, Any] = {"grain": grain, "parts": draw.choice(("whole", "all"))}
    if draw.random() < 0.3:
        items = sorted({change.item for change in changes})
        options["where"] = np.array(draw.sample(items, draw.randrange(len(items) + 1)), np.int64)
        options["where"].sort()
    if draw.random() < 0.25:
        options["radius"] = draw.randrange(grains[grain] + 1)
        options["cap"] = draw.choice((None, *draw.sample(range(1, 12), 3)))
    else:
        options["k"] = draw.choice((1, 2, 3, 4, 5, 7, 10, 20, 1000))
        if draw.random() < 0.2:
            options["weights"] = {name: draw.choice((0.5, 1.0, 2.0, 3.0)) for name in grains.up_to(grain)}
        elif draw.random() < 0.3:
            options["part_radii"] = [draw.randrange(-1, grains[grain] // 2)]
    return Codes(words, grains), options


def asked(engine: Engine, codes: Codes, options: dict[str, Any]) -> list[Any]:
    found = neighbors(engine, codes, options)
    parts = None if found.parts is None else found.parts.tolist()
    total = found.total if "radius" in options else len(found)
    return [found.ids.tolist(), found.distances.tolist(), found.full.tolist(), parts, total]


def neighbors(engine: Engine, codes: Codes, options: dict[str, Any]) -> Neighbours:
    (found,) = (engine.within if "radius" in options else engine.nearest)(codes, **options)
    return found


def ties_at_the_cut(oracle: NumpyEngine, codes: Codes, options: dict[str, Any]) -> bool:
    """Whether more items than are asked for are as far, at the grain, as the last one that is returned."""
    k = options.get("k") or options.get("cap")
    if k is None:
        return False
    every = neighbors(oracle, codes, {**options, **({"k": 10**6} if "k" in options else {"cap": None})})
    return len(every) > k and int((every.distances == every.distances[k - 1]).sum()) > k


# ---- kills

ITEMS, PICTURES = 20_000, 16


def test_a_server_killed_while_it_is_filled_and_asked_loses_and_doubles_nothing(tmp_path: Path) -> None:
    """Killed at random moments, started again: the next search is right, of whatever the server had by then."""
    pytest.importorskip("psycopg", reason="needs hashgrain[postgresql]")
    if programs() is None:
        pytest.skip("needs the programs of a PostgreSQL server")
    draw, started, kills = draws("killed database"), time.monotonic(), how_many(4, 50)
    path = large_library(tmp_path / "large.hg")
    with Library.open(path, workers=0) as library:
        expected = summary(library)
    with postgresql() as server:
        failures, broken = 0, []
        address = server.address("killed")
        for kill in range(kills):
            failed, right = ask_until_killed(server, path, address, expected, draw.uniform(0.05, 1.5))
            failures += failed
            broken += [] if right else [f"kill {kill}: a wrong answer without an error"]
            server.start()
            with Library.open(path) as library:
                there = library.database(address)
                if draw.random() < 0.5 and there.status().attached:
                    there.detach()  # so that it is filled again
        with Library.open(path, engine=address, workers=0) as library:
            broken += [] if summary(library) == expected else ["at last: a wrong answer"]
            server.kill()
            server.start()
            broken += [] if summary(library) == expected else ["by a new connection: a wrong answer"]
        rows = PostgreSql(address).ask("SELECT count(*) FROM killed.codes", [])
        broken += [] if rows == [(ITEMS,)] else [f"{rows} rows of {ITEMS}"]
    note("killed database", started, 0, trials=kills, broken=len(broken), failed_searches=failures)
    demand_none(broken, kills)
    assert failures > 0


HERE = Path(__file__).parent
# A process opens one folder of ClickHouse, and tests before may have another open in this one.
CHECKING = """
import json, sys
from hashgrain import Library
from hashgrain.engines import dialect_at
path, address, what = sys.argv[1:]
with Library.open(path, engine=address, workers=0) as library:
    found = [[hit.id, hit.distance, hit.score, hit.part] for hit in library.search(5, k=200)]
there = dialect_at(address)
there.state()
((rows,),) = there.ask(f"SELECT count() FROM {there.codes}", [])
there.close()
if what == "detach":
    with Library.open(path) as library:
        library.database(address).detach()
print(json.dumps([found, rows]))
"""
FILLING = """
import sys
from hashgrain import Library
with Library.open(sys.argv[1], workers=0) as library:
    library.database(sys.argv[2]).attach()
"""


def test_a_program_killed_while_it_fills_clickhouse_loses_and_doubles_nothing(tmp_path: Path) -> None:
    """The engine of ClickHouse is killed with it; the next program goes on with what is there."""
    pytest.importorskip("chdb", reason="needs hashgrain[clickhouse]")
    draw, started, kills = draws("killed ClickHouse"), time.monotonic(), how_many(2, 50)
    path, address = large_library(tmp_path / "large.hg"), f"chdb://{tmp_path / 'there'}?database=killed"
    with Library.open(path, workers=0) as library:
        expected = [list(each) for each in summary(library)]
    in_time, broken = 0, []
    for kill in range(kills):
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        child = subprocess.Popen([sys.executable, "-c", FILLING, path, address], env=environment)
        try:
            child.wait(draw.uniform(0.7, 2.5))
        except subprocess.TimeoutExpired:
            in_time += 1
        child.kill()
        child.wait()
        again = draw.random() < 0.8  # whether it is filled again
        words = [sys.executable, "-c", CHECKING, path, address, "detach" if again else "keep"]
        done = subprocess.run(words, env=environment, stdout=subprocess.PIPE, check=False, cwd=HERE)
        found = json.loads(done.stdout or b"[]")
        broken += [] if found == [expected, ITEMS] else [f"kill {kill}: a wrong answer, or {found[1:]} rows of {ITEMS}"]
    note("killed ClickHouse", started, 0, trials=kills, broken=len(broken), killed_in_time=in_time)
    demand_none(broken, kills)
    assert in_time > 0


def large_library(path: Path) -> Path:
    words = np.random.default_rng(1).integers(0, 2**63, (PICTURES, 4), np.uint64)
    with Library.create(path, "photo", workers=0) as library:
        for start in range(0, ITEMS, 5_000):
            library.store.commit([made(n, words[n % PICTURES].copy()) for n in range(start, start + 5_000)])
    return path


def made(n: int, code: NDArray[np.uint64]) -> New:
    code[n % len(code)] ^= np.uint64(n)
    return New(f"/p/{n}.jpg", f"{n:064x}", (n, n), 9, 9, "jpeg", None, code, {})


def ask_until_killed(server: Server, path: Path, address: str, expected: list[Any], seconds: float) -> tuple[int, bool]:
    """How many searches failed, and whether all others were right, while the server is killed after so many seconds."""
    ending = threading.Timer(seconds, server.kill)
    ending.start()
    failures, right = 0, True
    while ending.is_alive():
        try:
            with Library.open(path, engine=address, workers=0) as library:
                right = right and summary(library) == expected
        except EngineError:
            failures += 1
    ending.join()
    return failures, right


def summary(library: Library) -> list[Any]:
    return [(hit.id, hit.distance, hit.score, hit.part) for hit in library.search(5, k=200)]
