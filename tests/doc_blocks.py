"""The code blocks of the documentation, and what runs them as a reader would."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from conftest import ROOT

# A block that the tests cannot run says so where readers see it, in its title, with the reason.
NOT_TESTED = re.compile(r'title="Not tested: ([^"]+)"')
_FENCE = re.compile(r"^( *)```(\w*)[ \t]*([^\n]*)\n(.*?)^\1```[ \t]*$", re.MULTILINE | re.DOTALL)
# Installing is checked by `make` and by the names of the extras; here everything is installed.
_INSTALLS = ("pip install ", "make ")


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, what follows that in the fence, and where it begins."""

    page: str
    line: int
    language: str
    info: str
    text: str

    @property
    def reason(self) -> str:
        """Why the block is not run; empty for blocks that are run."""
        match = NOT_TESTED.search(self.info)
        return match.group(1) if match else ""

    @property
    def title(self) -> str:
        match = re.search(r'title="([^"]+)"', self.info)
        return match.group(1) if match else ""

    @property
    def commands(self) -> list[str]:
        """The lines of a console block that a reader types, without those that install."""
        typed = [line[2:] for line in self.text.splitlines() if line.startswith("$ ")]
        return [command for command in typed if not command.startswith(_INSTALLS)]

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def blocks_of(page: str, languages: tuple[str, ...] = ("console", "bash", "python")) -> list[Block]:
    text = (ROOT / page).read_text(encoding="utf-8")
    found = []
    for match in _FENCE.finditer(text):
        indent, language, info, content = match.groups()
        if language in languages:
            content = re.sub(f"^{indent}", "", content, flags=re.MULTILINE)
            found.append(Block(page, text.count("\n", 0, match.start()) + 1, language, info, content))
    return found


def run_block(block: Block, home: Path, before: str = "", *, python: Path | None = None) -> None:
    """Run one block in `home`; a command or script that fails is an assertion with all that it printed.

    `before` runs first in the same Python: it makes the arrays that a block of the reference speaks of. `python` is
    that of an environment into which HashGrain is installed; without it, this checkout runs in this Python.
    """
    environment = _environment_of(python, home) if python else _environment(home)
    if block.language == "python":
        _run([str(python or sys.executable), "-c", before + block.text], block, block.text, home, environment)
    for command in block.commands if block.language == "console" else []:
        _run(["bash", "-e", "-o", "pipefail", "-c", command], block, command, home, environment)
    if block.language == "bash":
        _run(["bash", "-e", "-o", "pipefail", "-c", block.text], block, block.text, home, environment)


def _run(arguments: list[str], block: Block, shown: str, home: Path, environment: dict[str, str]) -> None:
    done = subprocess.run(
        arguments, cwd=home, env=environment, capture_output=True, stdin=subprocess.DEVNULL, check=False
    )
    said = (done.stdout + done.stderr).decode(errors="replace")[-2000:]
    assert done.returncode == 0, f"{block}: exit code {done.returncode} of\n{shown}\n{said}"


def _environment(home: Path) -> dict[str, str]:
    """The reader's: `home` is the home folder, `hashgrain` this checkout, `photo` the model."""
    tools = home / ".tools"
    if not tools.exists():
        tools.mkdir()
        script = tools / "hashgrain"
        script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m hashgrain "$@"\n')
        script.chmod(0o755)
    python = os.pathsep.join([str(ROOT / "src"), *filter(None, [os.environ.get("PYTHONPATH")])])
    path = os.pathsep.join([str(tools), str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    return {**_plain_environment(home), "PATH": path, "PYTHONPATH": python}


def _environment_of(python: Path, home: Path) -> dict[str, str]:
    """That of a reader who installed HashGrain: its command is in the environment, and this checkout is not seen."""
    environment = _plain_environment(home)
    environment.pop("PYTHONPATH", None)
    return {**environment, "PATH": os.pathsep.join([str(python.parent), os.environ.get("PATH", "")])}


def _plain_environment(home: Path) -> dict[str, str]:
    others = {name: value for name, value in os.environ.items() if not name.startswith("HASHGRAIN_")}
    return {**others, "HOME": str(home), "BROWSER": "true"}


def bash_is_here() -> bool:
    return shutil.which("bash") is not None
