"""Processes that read the files of strangers: started safely, and ended with their parent."""

from __future__ import annotations

import contextlib
import json
import os
import struct
import sys
from typing import IO, TYPE_CHECKING, Any

from hashgrain.errors import WorkerError

if TYPE_CHECKING:
    import subprocess

PR_SET_PDEATHSIG, SIGKILL = 1, 9
READY = b"+"
LENGTH = struct.Struct("<Q")
AT_ONCE = 64 << 10  # bytes that are written with their header, so that who waits for them is woken once
MAX_CONTENT = 4 << 30  # bytes; the pixels of the largest picture that may be decoded are fewer
REMEDY = "no picture is refused for that: see that there is memory and room for processes, then run it again"
# Run with -c, Python puts the working folder first on its path; a numpy.py there must not be imported.
BOOTSTRAP = (
    "import sys; sys.path[:] = [sys.argv[1]] + [p for p in sys.path if p];"
    "from hashgrain.media.processes import end_with; end_with(int(sys.argv[2]));"
    "from {module} import serve; serve(*sys.argv[3:])"
)


def start(
    module: str, *arguments: str, environment: dict[str, str] | None = None, lasting: bool = False
) -> subprocess.Popen[bytes]:
    """A Python process that runs `serve(*arguments)` of a module of ours, with pipes to speak to it.

    It ends with the thread that started it, however that ends; or, if it is `lasting`, when its pipe ends, which it
    must check. `serve` begins by calling `ready`, if its starter waits for that.
    """
    import subprocess  # a worker, which has this module too, starts none

    here = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
    try:
        return subprocess.Popen(
            [
                sys.executable,
                "-c",
                BOOTSTRAP.format(module=module),
                here,
                "0" if lasting else str(os.getpid()),
                *arguments,
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            # A thread pool of a linear algebra library would only eat into the memory cap.
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", **(environment or {})},
            start_new_session=True,  # Ctrl-C is for the run, which then ends its workers
        )
    except (OSError, ValueError, TypeError) as error:  # no memory, too many processes, no Python any more
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise WorkerError(f"cannot start a process to read pictures in ({reason}); {REMEDY}") from None


def await_ready(process: subprocess.Popen[bytes]) -> None:
    """Wait for the process to have loaded what it needs: one that dies here has met no file yet."""
    assert process.stdout is not None
    if process.stdout.read(1) != READY:
        process.kill()
        code = process.wait()
        raise WorkerError(f"a process to read pictures in ended before its first answer (exit code {code}); {REMEDY}")


def ready() -> None:
    """Tell the parent that all is loaded."""
    sys.stdout.buffer.write(READY)
    sys.stdout.buffer.flush()


def end_with(parent: int) -> None:
    """Let the system end this process with its parent, even in the middle of a decoder.

    Only Linux can. Elsewhere the end of the pipe and the alarm of each picture do it later. 0: no parent.
    """
    if sys.platform != "linux" or not parent:
        return
    import ctypes

    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it was gone before we asked
        os._exit(1)


def cap_memory(memory: int) -> None:
    """Limit the address space of this process. It may be limited otherwise later."""
    try:
        import resource
    except ImportError:  # Windows has no such limit; the deadline still holds
        return
    with contextlib.suppress(ValueError, OSError):
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (memory if hard == resource.RLIM_INFINITY else min(memory, hard), hard))


def set_alarm(seconds: float) -> None:
    """Let the system end this process after so long, whatever it is doing; 0 takes it back."""
    import signal

    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, seconds)


def send(stream: IO[bytes], kind: bytes, header: dict[str, Any], content: Any = b"") -> None:
    """A message: a byte that says of what kind, a JSON header, bytes."""
    send_text(stream, kind, json.dumps(header).encode(), content)


def send_text(stream: IO[bytes], kind: bytes, text: bytes, content: Any = b"") -> None:
    """A message whose header is JSON already."""
    header = kind + LENGTH.pack(len(text)) + text + LENGTH.pack(len(content))
    if len(content) <= AT_ONCE:
        stream.write(b"".join((header, content)))
    else:
        stream.write(header)
        stream.write(content)
    stream.flush()


def receive(stream: IO[bytes]) -> tuple[bytes, dict[str, Any], bytes]:
    """The next message. Raises EOFError if the sender ended, or announces more bytes than any sender has."""
    kind, text, content = receive_text(stream)
    return kind, json.loads(text), content


def receive_text(stream: IO[bytes]) -> tuple[bytes, bytes, bytes]:
    """The next message, with its header as it came."""
    kind = exactly(stream, 1)
    text = exactly(stream, LENGTH.unpack(exactly(stream, LENGTH.size))[0])
    return kind, text, exactly(stream, LENGTH.unpack(exactly(stream, LENGTH.size))[0])


def exactly(stream: IO[bytes], size: int) -> bytes:
    if size > MAX_CONTENT:
        raise EOFError
    content = stream.read(size)
    if len(content) < size:
        raise EOFError
    return content


def end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()
