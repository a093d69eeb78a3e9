"""The workers of a pool: processes that decode one picture at a time, and the threads that hand them pictures.

They speak over their pipes:

    to the worker    kind (D decode), length of a JSON header with the limits, header, length of the picture, its bytes
    from the worker  kind (P picture, R refused), length of a JSON header, header, length of pixels, pixels (and behind
                     them those at the second size that was asked for)
"""

from __future__ import annotations

import json
import math
import os
import queue
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import replace
from functools import lru_cache
from typing import IO, Any

import numpy as np

from hashgrain.errors import ImageError, ImageTooLargeError
from hashgrain.media import processes
from hashgrain.media.limits import Limits
from hashgrain.media.lookup import medium_named
from hashgrain.media.medium import Medium, refusal_of
from hashgrain.media.picture import Picture

START_SECONDS = 60.0  # loading takes a third of one
POLL_SECONDS = 0.1
STOPPED = "the run was stopped"
Task = tuple[bytes, Limits, "Future[Picture | ImageError]"]


@lru_cache(16)
def _header(limits: Limits) -> bytes:
    return json.dumps(vars(limits)).encode()


def _read_answer(stdout: IO[bytes], medium: Medium) -> Picture | ImageError:
    kind, header, content = processes.receive(stdout)
    if kind == b"R":
        return ImageTooLargeError(header["reason"]) if header["too_large"] else medium.error(header["reason"])
    detail = header["detail"]
    if not detail:
        return opened_as(medium, header["dtype"], header["shape"], content, header["facts"])
    size = math.prod(header["shape"])
    picture = opened_as(medium, header["dtype"], header["shape"], content[:size], header["facts"])
    return with_detail(picture, opened_as(medium, detail["dtype"], detail["shape"], content[size:], header["facts"]))


def with_detail(picture: Picture | ImageError, larger: Picture | ImageError) -> Picture | ImageError:
    """A picture with what was decoded at the larger size."""
    if isinstance(picture, ImageError) or isinstance(larger, ImageError):
        return picture if isinstance(picture, ImageError) else larger
    return replace(picture, detail=larger.pixels)


def opened_as(
    medium: Medium, dtype: str, shape: Sequence[int], content: bytes, facts: Mapping[str, Any]
) -> Picture | ImageError:
    """The result of a decoder; a refusal if it does not fit the medium."""
    wrong = refusal_of(medium, dtype, shape, len(content))
    if wrong is None:
        array = np.frombuffer(content, dtype).reshape(shape)
        if array.dtype.kind != "f" or np.isfinite(array).all():
            opened: Picture = medium.opened(array, facts)  # or what another medium makes of it
            return opened
        wrong = "values that are no numbers"
    return medium.error(f"its decoder gave {wrong}")


def _outcome(worker: Worker, data: bytes, limits: Limits) -> Picture | ImageError | BaseException:
    """The result of decoding a picture, or the error, whatever it is: somebody waits for it."""
    try:
        return worker.decode(data, limits)
    except BaseException as error:
        return error


class Worker:
    """A process that decodes one picture at a time, started on first use and again after a death."""

    def __init__(self, busy: threading.Event) -> None:
        self.process: subprocess.Popen[bytes] | None = None
        self.deadline: float | None = None
        self.late = False
        self._busy = busy  # set when there is a deadline to watch

    def decode(self, data: bytes, limits: Limits) -> Picture | ImageError:
        """The picture or its refusal. Raises WorkerError if no process can be started, which is no picture's fault."""
        process = self.process
        if process is None or not self.is_running():
            process = self.start()
        self._within(limits.timeout)
        try:
            assert process.stdin is not None
            assert process.stdout is not None
            processes.send_text(process.stdin, b"D", _header(limits), data)
            return _read_answer(process.stdout, medium_named(limits.medium))
        except (OSError, EOFError, ValueError, KeyError, TypeError):  # the last three: it does not speak as we do
            self.kill()
            if self.late:
                return ImageError(f"took longer than {limits.timeout:g} s to decode")
            return ImageError("its decoder died; the file is damaged, or made to do harm")
        finally:
            self.deadline = None

    def start(self) -> subprocess.Popen[bytes]:
        if self.process is not None:
            processes.end(self.process)
        process = self.process = processes.start("hashgrain.media.decoding")
        self._within(START_SECONDS)
        try:
            processes.await_ready(process)
        finally:
            self.deadline = None
        return process

    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def _within(self, seconds: float) -> None:
        self.late = False
        self.deadline = time.monotonic() + seconds
        self._busy.set()

    def kill_if_late(self) -> bool:
        """Whether there is a deadline; a process that is past it is killed."""
        deadline = self.deadline
        if deadline is not None and time.monotonic() > deadline:
            self.late = True
            self.kill()
        return deadline is not None

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()


class WorkerGroup:
    """The workers of a pool, and as many threads that hand them pictures and wait for the results."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.workers: list[Worker] = []
        self._lock = threading.RLock()  # `stop` may come in the middle of anything, as garbage is collected
        self._start_anew()

    def _start_anew(self) -> None:
        self._process = os.getpid()
        self._tasks: queue.SimpleQueue[Task | None] = queue.SimpleQueue()
        self._free: queue.LifoQueue[Worker] = queue.LifoQueue()  # the last one used first: its memory is warm
        self._open_tasks = 0  # waiting or being decoded
        self._closing = threading.Event()
        self._busy = threading.Event()
        self._threads: list[threading.Thread] = []
        self.workers.clear()

    def submit(self, data: bytes, limits: Limits) -> Future[Picture | ImageError]:
        future: Future[Picture | ImageError] = Future()
        with self._lock:
            if self._closing.is_set():
                future.set_result(ImageError(STOPPED))
                return future
            if self._process != os.getpid():  # forked: the workers are the parent's
                self._start_anew()
            self._open_tasks += 1
            if self._open_tasks > len(self.workers) < self.most:
                self._add_worker()
            self._tasks.put((data, limits, future))
        return future

    def decode_here(self, data: bytes, limits: Limits) -> Picture | ImageError | None:
        """Decode by an idle worker from this thread, since a change of threads takes as long as a small picture. None
        if no worker is idle."""
        with self._lock:
            if self._closing.is_set() or self._process != os.getpid():
                return None
            try:
                worker = self._free.get_nowait()
            except queue.Empty:
                return None
            if not worker.is_running():  # the thread that starts it must live as long as it does
                self._free.put(worker)
                return None
            self._open_tasks += 1
        outcome = _outcome(worker, data, limits)
        self._release(worker)
        if isinstance(outcome, BaseException) and not isinstance(outcome, ImageError):  # no picture's fault
            raise outcome
        return outcome

    def begin(self) -> None:
        """Start a first worker now, so that it is ready when a picture comes."""
        with self._lock:
            if not self._closing.is_set() and self._process == os.getpid() and not self.workers:
                self._add_worker(early=True)

    def stop(self) -> None:
        """End the workers without waiting for the threads, one of which may be here (garbage is found anywhere)."""
        if self._process != os.getpid():
            return
        with self._lock:
            self._closing.set()
            self._busy.set()
            self._tasks.put(None)  # after every task
        for worker in self.workers:
            worker.kill()

    def join(self) -> None:
        if self._process == os.getpid():
            for thread in self._threads:
                thread.join()

    def _add_worker(self, *, early: bool = False) -> None:
        worker = Worker(self._busy)
        self.workers.append(worker)
        if not early:
            self._free.put(worker)
        self._threads.append(threading.Thread(target=self._serve_tasks, args=(worker if early else None,), daemon=True))
        self._threads[-1].start()
        if len(self.workers) == 1:
            self._threads.append(threading.Thread(target=self._watch, daemon=True))
            self._threads[-1].start()

    def _serve_tasks(self, early: Worker | None) -> None:
        if early is not None:
            with suppress(Exception):  # the first picture reports what is wrong
                early.start()
            self._free.put(early)
        while (task := self._tasks.get()) is not None:
            data, limits, future = task
            worker = self._free.get()
            outcome: Picture | ImageError | BaseException = ImageError(STOPPED)
            if future.set_running_or_notify_cancel() and not self._closing.is_set():
                outcome = _outcome(worker, data, limits)
            self._release(worker)  # before the result is visible, so that the next picture finds it free
            if future.cancelled():
                continue
            if isinstance(outcome, BaseException) and not isinstance(outcome, ImageError):  # no picture's fault
                future.set_exception(outcome)
            else:
                future.set_result(outcome)
        self._tasks.put(None)  # for the next thread
        for worker in self.workers:
            worker.kill()

    def _release(self, worker: Worker) -> None:
        with self._lock:
            self._open_tasks -= 1
            self._free.put(worker)

    def _watch(self) -> None:
        """Kill workers that are past their deadline; their threads see the pipe end and say so."""
        while not self._closing.is_set():
            self._busy.clear()
            decoding = [worker.kill_if_late() for worker in self.workers]
            if not any(decoding):
                self._busy.wait()
            self._closing.wait(POLL_SECONDS)
