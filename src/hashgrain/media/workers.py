"""Decoding in processes of our own, so that a picture can cost at most itself.

A decoder is C code fed by strangers: it may crash, hang or eat all memory. Each worker is a process with a cap
on its memory, and a deadline per picture; when it dies its picture is refused, a new worker takes its place and
the run goes on. `multiprocessing` would import the user's main module again in every worker, which a script
without a guard does not survive, so workers are plain subprocesses that speak over their pipes:

    to the worker    length, bytes of the picture
    from the worker  kind (P picture, R refused), length of a JSON header, header, length of pixels, pixels
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from dataclasses import asdict, dataclass
from types import TracebackType
from typing import IO, TypeVar

import numpy as np

from hashgrain.errors import ImageError, ImageTooLargeError
from hashgrain.media import processes
from hashgrain.media.cost import DEFAULT_MAX_PIXELS, budget
from hashgrain.media.formats import MAX_BYTES
from hashgrain.media.image import Facts, Picture, open_picture
from hashgrain.types import Fit

T = TypeVar("T")
LOOK_AHEAD = 96  # pictures that may be on their way: a batch in the network, one waiting, one being decoded
LOOK_AHEAD_BYTES = 128 << 20
BASE_MEMORY = 512 << 20  # address space of an idle worker, generously
START_SECONDS = 60.0  # loading takes a third of one


@dataclass(frozen=True)
class Limits:
    size: tuple[int, int] | None
    max_pixels: int
    timeout: float
    memory: int  # of the whole process
    decoding: int  # that a picture may take, as far as its header tells
    fit: Fit = "squash"


def decode_workers() -> int:
    """How many processes should decode ahead: half the cores; the other half run the network."""
    return max(1, (os.cpu_count() or 1) // 2)


class DecodePool:
    """A few workers behind one ordered stream. A context manager; with no workers it decodes right here."""

    def __init__(
        self,
        size: tuple[int, int] | None,
        *,
        fit: Fit = "squash",
        workers: int = 1,
        timeout: float = 60.0,  # a PNG of 400 million pixels takes ten, and other programs may be at work
        max_pixels: int = DEFAULT_MAX_PIXELS,
        memory: int | None = None,
    ) -> None:
        decoding = budget(max_pixels, workers)
        memory = BASE_MEMORY + MAX_BYTES + decoding if memory is None else memory
        self.limits = Limits(size, max_pixels, timeout, memory, decoding, fit)
        self._tasks: queue.SimpleQueue[tuple[bytes, Future[Picture | ImageError]] | None] = queue.SimpleQueue()
        self._closing = threading.Event()
        self._workers = [_Worker(self.limits) for _ in range(workers)]
        self._threads = [threading.Thread(target=self._tend, args=(w,), daemon=True) for w in self._workers]
        if workers:
            self._threads.append(threading.Thread(target=self._watch, daemon=True))
        for thread in self._threads:
            thread.start()

    def __enter__(self) -> DecodePool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the workers, whatever they are doing."""
        self._closing.set()
        for _ in self._workers:
            self._tasks.put(None)
        for worker in self._workers:
            worker.kill()
        for thread in self._threads:
            thread.join()

    def decode(self, items: Iterable[tuple[T, bytes]]) -> Iterator[tuple[T, Picture | ImageError]]:
        """(token, bytes) in, (token, picture or refusal) out, in the same order, decoded ahead of the reader."""
        if not self._workers:
            for token, data in items:
                yield token, _decode(data, self.limits)
            return
        under_way: deque[tuple[T, int, Future[Picture | ImageError]]] = deque()
        ahead_bytes = 0
        try:
            for token, data in items:
                future: Future[Picture | ImageError] = Future()
                under_way.append((token, len(data), future))
                ahead_bytes += len(data)
                self._tasks.put((data, future))
                while under_way and (len(under_way) >= LOOK_AHEAD or ahead_bytes > LOOK_AHEAD_BYTES):
                    first, size, done = under_way.popleft()
                    ahead_bytes -= size
                    yield first, done.result()
            while under_way:
                first, _, done = under_way.popleft()
                yield first, done.result()
        finally:
            for _, _, abandoned in under_way:
                abandoned.cancel()

    def _tend(self, worker: _Worker) -> None:
        """One thread owns one worker: hands it pictures and waits for what becomes of them."""
        while (task := self._tasks.get()) is not None:
            data, future = task
            if not future.set_running_or_notify_cancel():
                continue
            if self._closing.is_set():
                future.set_result(ImageError("the run was stopped"))
                continue
            try:
                future.set_result(worker.decode(data))
            except BaseException as error:  # must reach whoever waits, or they wait for ever
                future.set_exception(error)
        worker.kill()

    def _watch(self) -> None:
        """Kill workers that are past their deadline; their threads see the pipe end and say so."""
        while not self._closing.wait(0.1):
            for worker in self._workers:
                worker.kill_if_late()


class _Worker:
    """A process that decodes one picture at a time, started on first use and again after a death."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.process: subprocess.Popen[bytes] | None = None
        self.deadline: float | None = None
        self.late = False

    def decode(self, data: bytes) -> Picture | ImageError:
        """The picture or its refusal; a WorkerError where no process can be had, which is no picture's fault."""
        process = self.process
        if process is None or process.poll() is not None:
            process = self._start()
        self._within(self.limits.timeout)
        try:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(processes.LENGTH.pack(len(data)))
            process.stdin.write(data)
            process.stdin.flush()
            return _read_answer(process.stdout)
        except (OSError, EOFError):
            self.kill()
            if self.late:
                return ImageError(f"took longer than {self.limits.timeout:g} s to decode")
            return ImageError("its decoder died; the file is damaged, or made to do harm")
        finally:
            self.deadline = None

    def _start(self) -> subprocess.Popen[bytes]:
        process = self.process = processes.start(__name__, json.dumps(asdict(self.limits)))
        self._within(START_SECONDS)
        try:
            processes.await_ready(process)
        finally:
            self.deadline = None
        return process

    def _within(self, seconds: float) -> None:
        self.late = False
        self.deadline = time.monotonic() + seconds

    def kill_if_late(self) -> None:
        deadline = self.deadline
        if deadline is not None and time.monotonic() > deadline:
            self.late = True
            self.kill()

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()


def _decode(data: bytes, limits: Limits) -> Picture | ImageError:
    try:
        return open_picture(
            data, size=limits.size, fit=limits.fit, max_pixels=limits.max_pixels, memory=limits.decoding, name=""
        )
    except ImageError as error:
        error.message = error.message.removeprefix(": ")
        return error


def _read_answer(stdout: IO[bytes]) -> Picture | ImageError:
    kind, header, pixels = processes.receive(stdout)
    if kind == b"R":
        return ImageTooLargeError(header["reason"]) if header["too_large"] else ImageError(header["reason"])
    shaped = np.frombuffer(pixels, np.uint8).reshape(header["shape"])
    return Picture(shaped, Facts(**header["facts"]))


def serve(described: str) -> None:
    """The worker's whole life: read a picture, answer, until the pipe ends."""
    values = json.loads(described)
    limits = Limits(**{**values, "size": values["size"] and tuple(values["size"])})
    processes.cap_memory(limits.memory)
    stdin, stdout = sys.stdin.buffer, sys.stdout.buffer
    processes.ready()
    with contextlib.suppress(EOFError, BrokenPipeError):
        while True:
            (length,) = processes.LENGTH.unpack(processes.exactly(stdin, processes.LENGTH.size))
            data = processes.exactly(stdin, length)
            processes.set_alarm(
                limits.timeout + 5
            )  # should the parent be gone, nobody else would end a hanging decoder
            result = _decode(data, limits)
            processes.set_alarm(0)
            _answer(stdout, result)


def _answer(stdout: IO[bytes], result: Picture | ImageError) -> None:
    if isinstance(result, Picture):
        header = {"shape": result.pixels.shape, "facts": asdict(result.facts)}
        processes.send(stdout, b"P", header, result.pixels.tobytes())
    else:
        processes.send(stdout, b"R", {"reason": result.message, "too_large": isinstance(result, ImageTooLargeError)})
