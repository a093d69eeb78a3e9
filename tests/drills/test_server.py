"""A server that meets hostile pictures, or is killed: answers stay honest, and what was acknowledged stays."""

from __future__ import annotations

import io
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest

pytest.importorskip("fastapi", reason="needs hashgrain[serve]")
pytest.importorskip("uvicorn", reason="needs hashgrain[serve]")

from conftest import fill, make_picture
from drill_fixtures import SEED, demand_none, how_many, note
from hashgrain import Client, Library
from hashgrain.errors import ServerError
from serving import Served, start

pytestmark = [pytest.mark.timeout(3600), pytest.mark.slow, pytest.mark.drill]
FORMATS = ("jpeg", "png", "gif", "webp", "bmp", "tiff")
MUTATED = how_many(240, 5_000)
ROUNDS = how_many(2, 50)
GROWTH_MB = 150  # of the server and its worker from a tenth of the uploads to the last


@pytest.fixture
def library(tmp_path: Path) -> Path:
    with Library.create(tmp_path / "photos.hg", workers=1) as made:
        made.add(fill(tmp_path / "pictures", 6))
    return tmp_path / "photos.hg"


def mutated() -> Iterator[bytes]:
    """Pictures with bytes changed, cut out, doubled, or cut short."""
    dice = np.random.default_rng(19)
    for number in range(MUTATED):
        file = io.BytesIO()
        make_picture(number, (40, 30)).save(file, FORMATS[number % len(FORMATS)])
        data = bytearray(file.getvalue())
        for _ in range(dice.integers(1, 6)):
            at = int(dice.integers(12, len(data)))
            kind = dice.integers(4)
            if kind == 0:
                data[at] = dice.integers(256)
            elif kind == 1:
                del data[at : at + int(dice.integers(1, 9))]
            elif kind == 2:
                data[at:at] = data[max(0, at - 16) : at]
            else:
                data[at - 4 : at] = dice.bytes(4)
            if len(data) < 40:
                break
        yield bytes(data)


def test_mutated_pictures_are_decoded_or_refused(library: Path, tmp_path: Path) -> None:
    started, broken = time.monotonic(), []
    server = start(library, tmp_path / "log.txt", "--workers", 1, "--quiet")
    statuses = {201: 0, 415: 0, 422: 0}
    memory: list[float] = []
    for number, data in enumerate(mutated()):
        answer = server.ask("POST", "/api/v1/uploads", data)
        if answer.status in statuses:
            statuses[answer.status] += 1
        else:
            broken.append(f"upload {number}: {answer.status} {answer.body!r}")
        if number % (MUTATED // 10) == MUTATED // 10 - 1:
            memory.append(_megabytes(server))
    assert server.ask("GET", "/readyz").status == 200
    assert server.stop() == 0
    assert server.log.read_text() == ""
    if memory[-1] > memory[0] + GROWTH_MB:
        broken.append(f"memory: {memory} MB")
    taken = {"taken": statuses[201], "refused": statuses[415] + statuses[422]}
    note("fuzzed uploads", started, SEED, trials=MUTATED, broken=len(broken), peak_mb=round(max(memory)), **taken)
    demand_none(broken, MUTATED)
    assert min(taken.values()) > MUTATED // 10


def _megabytes(server: Served) -> float:
    process = psutil.Process(server.process.pid)
    return sum(each.memory_info().rss for each in [process, *process.children(recursive=True)]) / 1e6


def test_what_was_acknowledged_is_there_after_the_server_is_killed(library: Path, tmp_path: Path) -> None:
    started, broken = time.monotonic(), []
    acknowledged: list[tuple[str, bytes]] = []
    seed = 1000
    for round_number in range(ROUNDS):
        server = start(library, tmp_path / "log.txt", "--writable", "--workers", 1)
        enough = threading.Event()
        threads = [
            threading.Thread(target=_add_until_it_dies, args=(server, seed + 100 * n, acknowledged, enough))
            for n in range(3)
        ]
        seed += 300
        for thread in threads:
            thread.start()
        assert enough.wait(200)
        server.process.send_signal(signal.SIGKILL)
        server.process.wait()
        for thread in threads:
            thread.join()
        with Library.open(library, "w", workers=0) as opened:
            broken += [f"round {round_number}: {problem}" for problem in opened.verify()]
            known = {item.path for item in opened.items()}
            broken += [f"round {round_number}: {path} is lost" for path, _ in acknowledged if path not in known]
    broken += [f"{path} is another picture" for path, data in acknowledged if Path(path).read_bytes() != data]
    note("killed server", started, SEED, trials=ROUNDS, broken=len(broken), acknowledged=len(acknowledged))
    demand_none(broken, ROUNDS)
    assert len(acknowledged) >= 2 * ROUNDS


def _add_until_it_dies(
    server: Served, seed: int, acknowledged: list[tuple[str, bytes]], enough: threading.Event
) -> None:
    with Client(server.address) as client:
        for number in range(100):
            file = io.BytesIO()
            make_picture(seed + number).save(file, "png")
            try:
                item = client.add(file.getvalue(), name=f"{number}.png")
            except ServerError:
                return
            acknowledged.append((item.path, file.getvalue()))
            if number >= 1:
                enough.set()
