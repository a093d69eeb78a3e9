"""A graph that did not come with the package is tried once, in a process of its own, before it runs in this one.

The trial makes the session, which folds constants and plans memory, and runs every length of batch that is ever run
afterwards. The process may take so much memory and time and no more, and ends with its parent. Since no size and no
step of a graph depends on what the pictures show (graph_check.py makes sure), a batch that worked once always works.

A passed trial is recorded in the user's cache folder, under a key of the graph, the runtime and these limits, so a
model is tried once per machine. A refusal is not recorded: a busy machine may have been the reason.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hashgrain import files
from hashgrain.errors import BundleError
from hashgrain.models.session import (
    BATCH,
    TRIED,
    first_line,
    open_any_session,
    open_session,
    open_text_session,
    run,
    run_text,
    text_graph_of,
)

if TYPE_CHECKING:
    from hashgrain.models.bundle import Bundle
    from hashgrain.models.tower import TextTower

VERSION = 1  # of the trial; a new version voids all earlier verdicts
SECONDS = 300.0  # for all of it; the runs of a large network, 63 pictures in all, take some tens
CPU_SECONDS = 1200
BASE_MEMORY = 4 << 30  # address space, of which libraries and the stacks of threads reserve more than they use
PER_GRAPH_BYTE = 4  # weights as they are read, as the runtime keeps them, and as it lays them out anew
PER_PIXEL = 3 * 4 * 32  # 32 maps of floats as large as the picture, at once
PER_TOKEN_PAIR = 4 * 64  # a float for each two tokens, in 64 maps at once
MAX_MEMORY = 32 << 30
MAX_THREADS = 8
MAX_ANSWER = 1 << 16
# Run with -c, Python puts the working folder first on its path; a numpy.py there must not be imported.
BOOTSTRAP = (
    "import sys; sys.path[:] = [sys.argv[1]] + [p for p in sys.path if p];"
    "from hashgrain.models.trial import serve; serve(sys.argv[2])"
)


@dataclass(frozen=True)
class TrialLimits:
    name: str
    bits: int
    size: tuple[int, int]
    graph: int  # bytes
    memory: int
    seconds: float = SECONDS
    cpu_seconds: int = CPU_SECONDS
    threads: int = min(MAX_THREADS, os.cpu_count() or 1)
    length: int = 0  # tokens of a phrase, where the graph takes these; it takes pictures else
    # Of a graph that is no bundle's: type and shape, less the rows, of each input, and the numbers of rows to try.
    takes: Mapping[str, tuple[str, Sequence[int]]] | None = None
    rows: Sequence[int] = ()

    @property
    def whose(self) -> str:
        if self.takes is not None:
            return self.name
        return text_graph_of(self.name) if self.length else f"the graph of model {self.name!r}"


def check_by_trial(bundle: Bundle, limits: TrialLimits | None = None) -> None:
    """Refuse, by a BundleError, a graph that fails or does not keep within its limits."""
    facts = [bundle.onnx_sha256, list(bundle.size), bundle.grains.bits, TRIED]
    _check(bundle.onnx, facts, limits or limits_of(bundle))


def check_text_by_trial(bundle: Bundle, tower: TextTower) -> None:
    """The same of the graph that reads phrases. What an id says decides no size and no step, so one phrase will do."""
    need = BASE_MEMORY + PER_GRAPH_BYTE * len(tower.onnx) + tower.length**2 * PER_TOKEN_PAIR
    limits = TrialLimits(
        bundle.name, bundle.grains.bits, bundle.size, len(tower.onnx), min(need, MAX_MEMORY), length=tower.length
    )
    _check(tower.onnx, ["text", tower.onnx_sha256, tower.length, bundle.grains.bits], limits)


def try_graph(
    onnx: bytes,
    whose: str,
    takes: Mapping[str, tuple[str, Sequence[int]]],
    rows: Sequence[int],
    memory: int | None = None,
) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Run any graph, of which check_graph knows, on so many rows each; the type and shape of what it gives last."""
    room = BATCH * max((math.prod(shape) for _, shape in takes.values()), default=0) * PER_PIXEL
    need = memory or min(BASE_MEMORY + PER_GRAPH_BYTE * len(onnx) + room, MAX_MEMORY)
    answer = _try(onnx, TrialLimits(whose, 0, (0, 0), len(onnx), need, takes=takes, rows=rows))
    if "refused" in answer:
        raise BundleError(answer["refused"])
    return {str(name): (str(kind), tuple(map(int, shape))) for name, (kind, shape) in answer["gives"].items()}


def _check(onnx: bytes, facts: list[Any], limits: TrialLimits) -> None:
    verdict = _verdict_file(facts)
    if verdict and _passed(verdict):
        return
    answer = _try(onnx, limits)
    if "refused" in answer:
        raise BundleError(answer["refused"])
    if verdict:
        with contextlib.suppress(OSError):  # it only costs the next process another trial
            verdict.parent.mkdir(parents=True, exist_ok=True)
            files.write_atomically(verdict, json.dumps({"passed": True, "model": limits.name, **answer}).encode())


def limits_of(bundle: Bundle) -> TrialLimits:
    width, height = bundle.size
    need = BASE_MEMORY + PER_GRAPH_BYTE * len(bundle.onnx) + BATCH * width * height * PER_PIXEL
    return TrialLimits(bundle.name, bundle.grains.bits, bundle.size, len(bundle.onnx), min(need, MAX_MEMORY))


def _try(onnx: bytes, limits: TrialLimits) -> dict[str, Any]:
    """What the process answers, or why there is no answer."""
    whose = limits.whose
    here = str(Path(__file__).parent.parent.parent)
    # A thread pool of a linear algebra library would only eat into the memory cap.
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    try:
        process = subprocess.Popen(
            [sys.executable, "-c", BOOTSTRAP, here, json.dumps(asdict(limits))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            start_new_session=True,  # Ctrl-C is for the run, which then ends its trial
        )
    except OSError as error:
        raise BundleError(f"{whose} cannot be tried, for no process can be started ({error.strerror})") from None
    assert process.stdin is not None
    assert process.stdout is not None
    started = time.monotonic()
    timer = threading.Timer(limits.seconds, process.kill)
    timer.daemon = True
    timer.start()
    try:
        with contextlib.suppress(OSError):  # it died; what it answered, or that it did not, says why
            process.stdin.write(onnx)
            process.stdin.flush()
        text = process.stdout.read(MAX_ANSWER)
        answer = json.loads(text)
        return answer if isinstance(answer, dict) else {}
    except ValueError:
        if time.monotonic() - started >= limits.seconds:
            why = f"took longer than {limits.seconds:g} s; use a smaller one, or a less busy machine"
            return {"refused": f"{whose} was tried, and {why}"}
        why = f"it takes more than {limits.memory >> 30} GB of memory or too much time, or is made to do harm"
        return {"refused": f"{whose} was tried, and ended its process: {why}. Use another, or a smaller one"}
    finally:
        timer.cancel()
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            with contextlib.suppress(OSError):
                pipe.close()


def serve(described: str) -> None:
    """The whole life of the process: take a graph, run it, answer."""
    values = json.loads(described)
    limits = TrialLimits(**{**values, "size": tuple(values["size"])})
    _limit_process(limits)
    onnx = sys.stdin.buffer.read(limits.graph)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        answer = _run(onnx, limits)
    except BundleError as error:
        answer = {"refused": str(error)}
    except Exception as error:  # whatever it is, the parent must hear of it
        answer = {"refused": f"{limits.whose} was tried, and failed: {first_line(error)}"}
    sys.stdout.write(json.dumps(answer))
    sys.stdout.flush()
    os._exit(0)


def _run(onnx: bytes, limits: TrialLimits) -> dict[str, Any]:
    started = time.monotonic()
    if limits.takes is not None:
        return {"gives": _run_any(onnx, limits, limits.takes)}
    if limits.length:
        session = open_text_session(onnx, limits.name, limits.bits, limits.threads)
        ids = np.zeros(limits.length, np.int64)
        run_text(session, limits.name, ids, np.ones_like(ids))
    else:
        width, height = limits.size
        session = open_session(onnx, limits.name, limits.bits, limits.threads)
        pixels = np.random.default_rng(0).integers(0, 256, (BATCH, height, width, 3), np.uint8)
        for length in TRIED:
            run(session, limits.name, ["outputs", "features"], pixels[:length])
    return {"seconds": round(time.monotonic() - started, 3), "peak": _peak()}


def _run_any(onnx: bytes, limits: TrialLimits, takes: Mapping[str, tuple[str, Sequence[int]]]) -> dict[str, Any]:
    session = open_any_session(onnx, limits.name, limits.threads)
    names = [node.name for node in session.get_outputs()]
    gives: dict[str, Any] = {}
    for rows in limits.rows:
        given = {name: np.zeros((rows, *shape), kind) for name, (kind, shape) in takes.items()}
        arrays = session.run(names, given)
        gives = {name: (str(array.dtype), array.shape) for name, array in zip(names, arrays, strict=True)}
    return gives


def _limit_process(limits: TrialLimits) -> None:
    try:
        import resource
    except ImportError:  # Windows has no such limits; the deadline still holds
        return
    for what, limit in (
        (resource.RLIMIT_AS, limits.memory),
        (resource.RLIMIT_CPU, limits.cpu_seconds),
        (resource.RLIMIT_FSIZE, 0),  # it writes to its pipe and nowhere else
        (resource.RLIMIT_CORE, 0),
    ):
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(what, (limit, limit))


def _end_with_parent() -> None:
    """The pipe from the parent ends when it does, however it does."""
    sys.stdin.buffer.read(1)
    os._exit(1)


def _peak() -> int | None:
    """The peak memory of this process in bytes; None if the system does not report it."""
    with contextlib.suppress(OSError):  # Linux, where getrusage counts the parent's memory too
        status = Path("/proc/self/status").read_text()
        peaks = [int(line.split()[1]) << 10 for line in status.splitlines() if line.startswith("VmHWM")]
        return peaks[0] if peaks else None
    try:
        import resource
    except ImportError:
        return None
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most << 10


def _verdict_file(facts: list[Any]) -> Path | None:
    """The file of the verdict on a graph, for this runtime and these limits; None without a cache folder."""
    import onnxruntime
    from platformdirs import user_cache_path

    facts = [VERSION, onnxruntime.__version__, *facts]
    key = hashlib.sha256(json.dumps(facts).encode()).hexdigest()
    try:
        return user_cache_path("hashgrain") / "models" / f"{key}.json"
    except (OSError, RuntimeError):  # a user without a home
        return None


def _passed(verdict: Path) -> bool:
    try:
        answer = json.loads(files.read_regular(verdict, MAX_ANSWER))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(answer, dict) and answer.get("passed") is True
