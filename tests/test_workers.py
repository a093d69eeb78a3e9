"""Processes that decode: an error of the run where they cannot be had, and gone when their parent is."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from conftest import make_picture
from hashgrain.errors import WorkerError
from hashgrain.media import DecodePool, Picture, processes
from test_images import as_bytes

PICTURE = as_bytes(make_picture(1), "jpeg")


def results(pool: DecodePool, count: int = 3) -> list[object]:
    return [result for _, result in pool.decode([(i, PICTURE) for i in range(count)])]


def test_workers_that_cannot_be_started_are_an_error_of_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with DecodePool((16, 16), workers=2) as pool, pytest.raises(WorkerError, match="cannot start a process"):
        results(pool)


def test_a_machine_without_room_for_processes_is_an_error_of_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_fork(*_: object, **__: object) -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(subprocess, "Popen", no_fork)
    with DecodePool((16, 16), workers=1) as pool, pytest.raises(WorkerError, match="temporarily unavailable"):
        results(pool)


def test_a_worker_that_dies_before_its_first_answer_is_an_error_of_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "BOOTSTRAP", "raise SystemExit(7)")
    with DecodePool((16, 16), workers=1) as pool, pytest.raises(WorkerError, match=r"ended before.*code 7"):
        results(pool)


def test_a_worker_that_cannot_be_replaced_is_an_error_of_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    with DecodePool((16, 16), workers=1) as pool:
        assert all(isinstance(result, Picture) for result in results(pool))
        worker = pool._workers[0].process
        assert worker is not None
        worker.kill()
        worker.wait()
        monkeypatch.setattr(sys, "executable", "/nowhere/python")
        with pytest.raises(WorkerError):
            results(pool)


def test_the_command_tells_of_workers_that_cannot_start_and_refuses_no_picture(tmp_path: Path) -> None:
    make_picture(1).save(tmp_path / "a.jpg")
    script = (
        "import sys; from hashgrain.cli import main; sys.argv = ['hashgrain', 'add', 'm.hg', 'a.jpg'];"
        "sys.executable = '/nowhere/python'; sys.exit(main())"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "cannot start a process" in done.stderr
    assert "refused:" not in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can end a process with its parent")
def test_a_worker_that_hangs_in_a_decoder_ends_when_its_parent_is_killed() -> None:
    script = (
        "import sys, time; from hashgrain.media import DecodePool\n"
        "pool = DecodePool((16, 16), workers=2)\n"
        "list(pool.decode([(i, b'x') for i in range(20)]))\n"
        "print(*[w.process.pid for w in pool._workers if w.process], flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        workers = [psutil.Process(int(pid)) for pid in parent.stdout.readline().split()]
        for worker in workers:
            os.kill(worker.pid, signal.SIGSTOP)  # neither the end of its pipe nor its alarm reaches it
        parent.kill()
    assert workers
    _, alive = psutil.wait_procs(workers, timeout=10)
    assert [worker for worker in alive if worker.status() != psutil.STATUS_ZOMBIE] == []


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can end a process with its parent")
def test_a_worker_whose_parent_was_gone_before_it_asked_ends_at_once() -> None:
    here = str(Path(processes.__file__).parent.parent.parent)
    code = processes.BOOTSTRAP.format(module="hashgrain.media.decoding")
    for parent, ended in ((os.getpid(), 0), (1 if os.getpid() != 1 else 2, 1)):
        command = [sys.executable, "-c", code, here, str(parent)]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=30)
        assert done.returncode == ended
