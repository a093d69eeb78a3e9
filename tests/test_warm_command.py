"""The command that is forked from a warm process, beside the same command started cold."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from warm_command import COLD, WarmCommand, run_cold

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="commands are forked on Linux alone")


@pytest.mark.parametrize(
    ("words", "stdin"),
    [
        ([b"--version"], b""),
        ([b"models", b"--json"], b""),
        ([b"search"], b""),
        ([b"info", b"nowhere.hg", b"--json"], b""),
        ([b"info", b"n\xff.hg"], b""),
        ([b"add", b"new.hg", b"-"], b"missing.jpg\n"),
    ],
)
def test_a_warm_command_says_and_ends_as_a_cold_one(
    tmp_path: Path, warm_command: WarmCommand, words: list[bytes], stdin: bytes
) -> None:
    environment = {**os.environ, "COLUMNS": "70"}
    warm = warm_command.ask(words, stdin, environment, tmp_path, 60)
    cold = run_cold(words, input=stdin, env=environment, cwd=tmp_path, timeout=60)
    assert (warm.returncode, warm.stdout, warm.stderr) == (cold.returncode, cold.stdout, cold.stderr)


def test_one_that_takes_too_long_is_killed(tmp_path: Path, warm_command: WarmCommand) -> None:
    with pytest.raises(subprocess.TimeoutExpired):
        warm_command.ask([b"demo"], b"", dict(os.environ), tmp_path, 0.05)
    assert warm_command.ask([b"--version"], b"", dict(os.environ), tmp_path, 60).returncode == 0


def test_some_are_started_cold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command, cold = WarmCommand(), []
    monkeypatch.setattr("warm_command.run_cold", lambda words, **options: cold.append(options["env"]))
    monkeypatch.setattr(command, "ask", lambda *_: None)
    for _ in range(COLD):
        command.run([b"--version"], b"", dict(os.environ), tmp_path, 60)
    command.run([b"--version"], b"", {**os.environ, "PYTHONPATH": "elsewhere"}, tmp_path, 60)
    assert [environment.get("PYTHONPATH") for environment in cold] == [os.environ.get("PYTHONPATH"), "elsewhere"]
