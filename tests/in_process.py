"""The command in this process, for tests of what takes torch: importing it takes longer than what is tested."""

from __future__ import annotations

from pathlib import Path

from typer.testing import CliRunner, Result

from hashgrain.cli.app import application


def hashgrain(*arguments: object) -> Result:
    return CliRunner().invoke(application(), [str(argument) for argument in arguments])


def refused(result: Result, out: str, *said: str) -> str:
    """One line that says all of this, exit code 1, and nothing where the bundle was to be."""
    assert result.exception is None or isinstance(result.exception, SystemExit), repr(result.exception)
    assert result.exit_code == 1, result.output
    assert result.stdout == ""
    lines = result.stderr.splitlines()
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("error: ")
    for part in said:
        assert part in lines[0]
    assert not Path(out).exists()
    return str(lines[0])
