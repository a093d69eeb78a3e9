"""The processes of the product that read strangers' files, forked from this warm one instead of started cold.

All they do to bound themselves, limits of memory and time included, they do here too; only the three tenths of a
second that an interpreter takes to start are spared. One in so many is started as the product starts it.
"""

from __future__ import annotations

import importlib
import io
import os
import signal
import sys
import traceback
from typing import Any

COLD = 25  # one in so many


class Forked:
    """As much of `subprocess.Popen` as the product uses."""

    def __init__(self, module: str, arguments: tuple[str, ...]) -> None:
        reading, to_child = os.pipe()
        from_child, writing = os.pipe()
        self.returncode: int | None = None
        self.pid = os.fork()
        if self.pid == 0:
            _serve(module, arguments, reading, writing)
        os.close(reading)
        os.close(writing)
        self.stdin, self.stdout = os.fdopen(to_child, "wb"), os.fdopen(from_child, "rb")

    def kill(self) -> None:
        if self.returncode is None:
            os.kill(self.pid, signal.SIGKILL)

    def wait(self) -> int:
        if self.returncode is None:
            self.returncode = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self.returncode

    def poll(self) -> int | None:
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.returncode = os.waitstatus_to_exitcode(status) if pid else None
        return self.returncode


def _serve(module: str, arguments: tuple[str, ...], reading: int, writing: int) -> None:
    try:
        signal.setitimer(signal.ITIMER_REAL, 0)
        os.dup2(reading, 0)
        os.dup2(writing, 1)
        os.closerange(3, 256)
        sys.stdin = io.TextIOWrapper(os.fdopen(0, "rb", closefd=False))
        sys.stdout = io.TextIOWrapper(os.fdopen(1, "wb", closefd=False))
        importlib.import_module(module).serve(*arguments)
        sys.stdout.flush()
        os._exit(0)
    except BaseException:
        traceback.print_exc()
        os._exit(1)


def fork_readers() -> None:
    """From here on the product's reading processes are forked."""
    try:
        from hashgrain.media import processes
    except ImportError:
        return
    cold, started = processes.start, 0

    def start(module: str, *arguments: str, environment: dict[str, str] | None = None) -> Any:
        nonlocal started
        started += 1
        if started % COLD == 0:
            return cold(module, *arguments, environment=environment)
        return Forked(module, arguments)

    processes.start = start  # type: ignore[assignment]
