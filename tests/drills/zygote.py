"""A warm process that forks a child for each trial: a hundred trials cost what three fresh interpreters do.

Run as a script under the shim. It reads a request a line (JSON) and answers each with a line; `client.py` speaks
to it. A child either runs the command `hashgrain` or calls a function of a module beside this one.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import gc
import importlib
import importlib.util
import io
import json
import os
import resource
import select
import signal
import sys
import tempfile
import time
import traceback
from typing import Any

TRACEBACK = 70  # the exit code of a child that ended with one
SAID = 200_000  # characters of each stream that are handed on
WARM = (
    "onnxruntime",
    "numpy",
    "PIL.Image",
    "PIL.JpegImagePlugin",
    "PIL.PngImagePlugin",
    "hashgrain.cli.app",
    "hashgrain.library",
    "hashgrain.codefiles",
    "hashgrain.apps.answer_page",
    "hashgrain.apps.model_checkup",
    "hashgrain.media.workers",
    "hashgrain.sources",
    "hashgrain.store",
)
EXTRA = ("pyarrow.parquet", "rich.console")
OURS = ("made_parts", "oracle", "questions", "disk_model", "hostile", "fuzzers", "readers", "writers")


class Shim:
    """The functions of shim.c, found in this process because it was loaded before all else."""

    def __init__(self) -> None:
        library = ctypes.CDLL(None)
        self.arm = library.drill_arm
        self.arm.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_long, ctypes.c_int, ctypes.c_char_p, ctypes.c_int]
        self.disarm = library.drill_disarm
        self.calls = library.drill_calls
        self.calls.restype = ctypes.c_long
        self.hits = library.drill_hits
        self.hits.restype = ctypes.c_long
        self.what = library.drill_what
        self.what.restype = ctypes.c_char_p
        self._mark = library.drill_mark
        self._mark.argtypes = [ctypes.c_char_p]

    def mark(self, text: str) -> None:
        """Write into the record of changes that this much has been acknowledged."""
        self._mark(text.encode())


def warm_up() -> None:
    """Import all a trial needs. No thread may be started here: a fork would not take it along."""
    for name in WARM:
        importlib.import_module(name)
    for name in EXTRA:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    for name in OURS:
        if importlib.util.find_spec(name):
            importlib.import_module(name)
    commands: Any = importlib.import_module("hashgrain.cli.app")
    every = commands.application()
    commands.application = lambda only=None: every
    # Decoding in the child itself, as `--workers 0` does, for the verbs without that option.
    for name, module in list(sys.modules.items()):
        if name.startswith("hashgrain.") and hasattr(module, "decode_workers"):
            module.decode_workers = lambda: 0  # type: ignore[attr-defined]
    thumbnails = sys.modules.get("hashgrain.library.thumbnails")
    if hasattr(thumbnails, "CACHE_BYTES"):  # so little that the cache is trimmed in every trial that shows pictures
        thumbnails.CACHE_BYTES, thumbnails.TRIM_EVERY = 3_000, 1  # type: ignore[union-attr]
    _warm_up_commands()
    gc.collect()
    gc.freeze()


def _warm_up_commands() -> None:
    """Typer imports half of what it needs on first use, and makes its parsers anew for every call."""
    import typer.main

    typer.main.get_command = functools.cache(typer.main.get_command)
    said, sys.stdout, sys.stderr = (sys.stdout, sys.stderr), io.StringIO(), io.StringIO()
    for verb in (
        ["info", "/nowhere"],
        ["search", "/nowhere", "--id", "1", "--json"],
        ["remove", "/nowhere", "--id", "1"],
    ):
        _command(verb)
    sys.stdout, sys.stderr = said


def main() -> None:
    requests = os.fdopen(os.dup(0), "rb")
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    warm_up()
    shim = Shim()
    answers.write(b"ready\n")
    answers.flush()
    for line in requests:
        answer = _trial(json.loads(line), shim)
        answers.write(json.dumps(answer).encode() + b"\n")
        answers.flush()


def _trial(request: dict[str, Any], shim: Shim) -> dict[str, Any]:
    shim.arm(0, 0, 0, 0, b"", -1)  # counters of the trial before must not be taken for this one's
    shim.disarm()
    streams = [tempfile.TemporaryFile() for _ in range(3)]  # noqa: SIM115
    started = time.monotonic()
    child = os.fork()
    if child == 0:
        _live(request, shim, streams)
    late = _wait(child, request.get("seconds", 30.0))
    if late:
        os.killpg(child, signal.SIGKILL)
    _, status, usage = os.wait4(child, 0)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child, signal.SIGKILL)  # whatever it started itself
    out, err, result = (_content(stream) for stream in streams)
    return {
        "code": os.WEXITSTATUS(status) if os.WIFEXITED(status) else None,
        "signal": os.WTERMSIG(status) if os.WIFSIGNALED(status) else None,
        "late": late,
        "out": out[:SAID],
        "err": err[-SAID:],
        "result": json.loads(result) if result else None,
        "calls": shim.calls(),
        "hits": shim.hits(),
        "what": shim.what().decode("utf-8", "backslashreplace"),
        "seconds": round(time.monotonic() - started, 3),
        "peak_mb": usage.ru_maxrss // 1024,
    }


def _wait(child: int, seconds: float) -> bool:
    """Whether it took longer."""
    descriptor = os.pidfd_open(child)
    try:
        poller = select.poll()
        poller.register(descriptor, select.POLLIN)
        return not poller.poll(1000 * seconds)
    finally:
        os.close(descriptor)


def _content(stream: Any) -> str:
    stream.seek(0)
    content: bytes = stream.read()
    stream.close()
    return content.decode("utf-8", "backslashreplace")


def _live(request: dict[str, Any], shim: Shim, streams: list[Any]) -> None:
    """The child's whole life."""
    code = TRACEBACK
    try:
        os.setsid()
        _prepare(request, streams)
        arming = request.get("arm")
        if arming:
            log = os.open(arming["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND) if arming.get("log") else -1
            roots = "\n".join(arming["roots"]).encode()
            shim.arm(arming["mode"], arming["mask"], arming["at"], arming["error"], roots, log)
        code = _command(request["argv"]) if "argv" in request else _call(request, shim, streams[2])
        if arming and arming.get("log"):
            shim.mark("end")
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else 1
        if isinstance(stop.code, str):
            print(stop.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
    finally:
        shim.disarm()
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(code)


def _prepare(request: dict[str, Any], streams: list[Any]) -> None:
    os.dup2(streams[0].fileno(), 1)
    os.dup2(streams[1].fileno(), 2)
    if request.get("stdin") is not None:
        reading, writing = os.pipe()
        os.write(writing, request["stdin"].encode("utf-8", "surrogateescape"))
        os.close(writing)
        os.dup2(reading, 0)
    sys.stdin = io.TextIOWrapper(os.fdopen(0, "rb", closefd=False))
    sys.stdout = io.TextIOWrapper(os.fdopen(1, "wb", closefd=False), write_through=True)
    sys.stderr = io.TextIOWrapper(os.fdopen(2, "wb", closefd=False), errors="backslashreplace", write_through=True)
    os.environ.update(request.get("env", {}))
    os.chdir(request.get("cwd") or tempfile.gettempdir())
    memory = request.get("memory_mb")
    if memory:
        resource.setrlimit(resource.RLIMIT_AS, (memory << 20, memory << 20))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _command(argv: list[str]) -> int:
    from hashgrain.cli import main as hashgrain

    sys.argv = ["hashgrain", *argv]
    try:
        hashgrain()
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    return 0


def _call(request: dict[str, Any], shim: Shim, result: Any) -> int:
    module, _, name = request["call"].partition(":")
    function = getattr(importlib.import_module(module), name)
    extra = {"mark": shim.mark} if request.get("marks") else {}
    value = function(*request.get("args", ()), **extra)
    result.write(json.dumps(value).encode())
    result.flush()
    return 0


if __name__ == "__main__":
    main()
