"""The tests' end of the zygote: ask for a trial, get what became of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shim import Arm

HERE = Path(__file__).parent
SECONDS = 30.0  # a trial takes a tenth of a second; whatever takes this long hangs


@dataclass(frozen=True)
class Outcome:
    """What became of a trial. `code` is None where a signal ended it."""

    code: int | None
    signal: int | None
    late: bool
    out: str
    err: str
    result: Any
    calls: int
    hits: int
    what: str
    seconds: float
    peak_mb: int

    @property
    def traceback(self) -> bool:
        return "Traceback (most recent call last)" in self.err or self.code == 70


class Zygote:
    """A warm process under the shim (or without it, where there is none and only `call` is wanted)."""

    def __init__(self, shim: Path, scratch: Path) -> None:
        self.scratch = scratch
        environment = {
            **os.environ,
            "LD_PRELOAD": str(shim),
            "PYTHONPATH": os.pathsep.join([*filter(None, [os.environ.get("PYTHONPATH")]), str(HERE), str(HERE.parent)]),
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
            "HASHGRAIN_CONFIG": str(scratch / "no-config.toml"),
            "TMPDIR": str(scratch),
            "XDG_CACHE_HOME": str(scratch / "cache"),
            "PYTHONDONTWRITEBYTECODE": "1",
            "ARROW_DEFAULT_MEMORY_POOL": "system",  # the others reserve address space by the gigabyte
        }
        self._process = subprocess.Popen(
            [sys.executable, str(HERE / "zygote.py")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
        )
        assert self._process.stdout is not None
        if self._process.stdout.readline() != b"ready\n":
            raise RuntimeError("the zygote did not start; its error is above")

    def command(self, *argv: object, arm: Arm | None = None, **options: Any) -> Outcome:
        """Run `hashgrain` with these arguments in a child."""
        return self._ask({"argv": [os.fspath(a) if isinstance(a, Path) else str(a) for a in argv]}, arm, options)

    def call(self, function: str, *arguments: object, arm: Arm | None = None, **options: Any) -> Outcome:
        """Call "module:function" of a module beside this one in a child; arguments and result are plain data."""
        plain = [str(each) if isinstance(each, Path) else each for each in arguments]
        return self._ask({"call": function, "args": plain}, arm, options)

    def close(self) -> None:
        self._process.kill()
        self._process.wait()

    def _ask(self, request: dict[str, Any], arm: Arm | None, options: dict[str, Any]) -> Outcome:
        request = {**request, "arm": arm.as_request() if arm else None, "seconds": SECONDS, **options}
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(json.dumps(request).encode() + b"\n")
        stdin.flush()
        return Outcome(**json.loads(stdout.readline()))
