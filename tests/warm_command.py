"""The command `hashgrain`, forked from a warm process: tests run it by the hundred, and starting it is half of each.

The child lives as the command does, from the words of its command line to the way an interpreter ends; only Python
and what HashGrain imports are loaded once for all. One in so many is started cold, every one whose environment changes
how Python starts, and all where the system is not Linux. Run as a script, this is the warm process: it reads a request
a line and answers twice, with the child's process number and with its exit code.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import pkgutil
import runpy
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import IO, Any

COLD = 20  # one in so many
STARTING = ("PYTHON", "LD_", "OMP_", "OPENBLAS_", "COVERAGE_")  # what is read before the first line of HashGrain
WARM = ("numpy", "PIL.Image", "rich.console", "hashgrain.library", "hashgrain.store")

Done = subprocess.CompletedProcess[bytes]


class WarmCommand:
    """Runs commands as `subprocess.run` does: same arguments, same result, same exception after `timeout` seconds."""

    def __init__(self) -> None:
        self._free = threading.Lock()
        self._runs = 0
        self._environment = dict(os.environ)
        self._process: subprocess.Popen[bytes] | None = None

    def run(self, words: list[bytes], stdin: bytes, env: dict[str, str], cwd: object, timeout: float) -> Done:
        """`python -m hashgrain` with these words."""
        self._runs += 1
        started_with = self._environment
        otherwise = any(
            name.startswith(STARTING) and started_with.get(name) != env.get(name) for name in {*env, *started_with}
        )
        cold = otherwise or self._runs % COLD == 0 or sys.platform != "linux"
        if cold or not self._free.acquire(blocking=False):
            return run_cold(words, input=stdin, env=env, cwd=cwd, timeout=timeout)
        try:
            return self.ask(words, stdin, env, cwd, timeout)
        finally:
            self._free.release()

    def close(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def ask(self, words: list[bytes], stdin: bytes, env: dict[str, str], cwd: object, timeout: float) -> Done:
        """As `run`, but always by the warm process."""
        with tempfile.TemporaryDirectory() as folder:
            streams = [Path(folder, name) for name in ("stdin", "stdout", "stderr")]
            streams[0].write_bytes(stdin)
            request = {"words": [os.fsdecode(word) for word in words], "cwd": str(cwd), "env": env}
            asked, answered = self._started()
            asked.write(json.dumps({**request, "streams": [str(each) for each in streams]}).encode() + b"\n")
            asked.flush()
            child = int(answered.readline())
            late = threading.Event()
            deadline = threading.Timer(timeout, _kill, [child, late])
            deadline.start()
            code = int(answered.readline())
            deadline.cancel()
            out, err = streams[1].read_bytes(), streams[2].read_bytes()
            if late.is_set():
                raise subprocess.TimeoutExpired(words, timeout, out, err)
            return subprocess.CompletedProcess(words, code, out, err)

    def _started(self) -> tuple[IO[bytes], IO[bytes]]:
        """The two ends of the warm process, which starts with the first command."""
        if self._process is None:
            one_thread = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}  # a fork takes no thread along
            self._process = subprocess.Popen(
                [sys.executable, __file__],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env={**self._environment, **one_thread},
            )
        asked, answered = self._process.stdin, self._process.stdout
        assert asked is not None
        assert answered is not None
        return asked, answered


def run_cold(words: list[bytes], **options: Any) -> Done:
    return subprocess.run([sys.executable, "-m", "hashgrain", *words], capture_output=True, check=False, **options)


def _kill(process: int, late: threading.Event) -> None:
    late.set()
    with contextlib.suppress(ProcessLookupError):
        os.kill(process, signal.SIGKILL)


def _serve() -> None:
    """Fork a child for each request; in the child, be the command."""
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb", buffering=0)
    _import_all()
    for line in requests:
        child = os.fork()
        if child == 0:
            requests.close()
            answers.close()
            _become_the_command(json.loads(line))
            return
        answers.write(b"%d\n" % child)
        _, status = os.waitpid(child, 0)
        answers.write(b"%d\n" % os.waitstatus_to_exitcode(status))


def _import_all() -> None:
    import hashgrain.cli

    verbs = [f"hashgrain.cli.{each.name}" for each in pkgutil.iter_modules(hashgrain.cli.__path__)]
    for name in [*WARM, *verbs]:
        importlib.import_module(name)
    threads = len(os.listdir("/proc/self/task"))
    assert threads == 1, f"{threads} threads, which a fork would not take along"
    gc.collect()
    gc.freeze()


def _become_the_command(request: dict[str, Any]) -> None:
    for number, name in enumerate(request["streams"]):
        opened = os.open(name, os.O_WRONLY | os.O_CREAT if number else os.O_RDONLY)
        os.dup2(opened, number)
        os.close(opened)
    os.environ.clear()
    os.environ.update(request["env"])
    os.chdir(request["cwd"])
    sys.path[0] = os.getcwd()  # as `python -m` has it
    sys.argv[1:] = request["words"]
    runpy.run_module("hashgrain", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    _serve()
