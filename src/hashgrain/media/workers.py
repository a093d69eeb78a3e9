"""Decoding in processes of our own, so that a picture can cost at most itself.

A decoder is C code fed by strangers: it may crash, hang or eat all memory. Each worker is a process with a cap
on its memory, and a deadline per picture; when it dies its picture is refused, a new worker takes its place and
the run goes on. `multiprocessing` would import the user's main module again in every worker, which a script
without a guard does not survive, so workers are plain subprocesses that speak over their pipes:

    to the worker    kind (D decode), length of a JSON header with the limits, header, length of the picture, its bytes
    from the worker  kind (P picture, R refused), length of a JSON header, header, length of pixels, pixels
"""

from __future__ import annotations

import os
import queue
import subprocess
import threading
import time
import weakref
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from itertools import chain, islice
from types import TracebackType
from typing import IO, Any, TypeVar

import numpy as np

from hashgrain.errors import ImageError, ImageTooLargeError
from hashgrain.media import processes
from hashgrain.media.cost import DEFAULT_MAX_PIXELS, budget
from hashgrain.media.decoding import medium_named
from hashgrain.media.formats import MAX_BYTES
from hashgrain.media.image import Picture, open_picture, read_file
from hashgrain.media.limits import Limits
from hashgrain.media.medium import Medium, refusal_of
from hashgrain.media.pictures import PICTURES
from hashgrain.types import Fit

T = TypeVar("T")
LOOK_AHEAD = 96  # pictures that may be on their way: a batch in the network, one waiting, one being decoded
LOOK_AHEAD_BYTES = 128 << 20
BASE_MEMORY = 512 << 20  # address space of an idle worker, generously
START_SECONDS = 60.0  # loading takes a third of one
TIMEOUT = 60.0  # a PNG of 400 million pixels takes ten, and other programs may be at work
POLL_SECONDS = 0.1
STOPPED = "the run was stopped"


Task = tuple[bytes, Limits, "Future[Picture | ImageError]"]


def decode_workers() -> int:
    """How many processes may decode ahead: half the cores, and on two both, since the network leaves what it can."""
    cores = os.cpu_count() or 1
    return max(min(2, cores), cores // 2)


class DecodePool:
    """Workers behind ordered streams of pictures, each started when there is work for it and kept until `close`.

    A context manager. Any number of threads may decode at once. With no workers it decodes right here.
    """

    def __init__(
        self,
        size: tuple[int, int] | None,
        *,
        fit: Fit = "squash",
        workers: int = 1,
        timeout: float = TIMEOUT,
        max_pixels: int = DEFAULT_MAX_PIXELS,
        memory: int | None = None,
        medium: Medium = PICTURES,
    ) -> None:
        self.workers = workers
        self._medium = medium
        self._fit = fit
        self._memory = memory
        self.limits = self._limits(size, timeout, max_pixels)
        self._crew = _Crew(workers)
        # Who forgets to close a pool leaves no process behind: threads of the crew know nothing of the pool.
        self._end = weakref.finalize(self, self._crew.stop)

    @property
    def _workers(self) -> list[_Worker]:
        return self._crew.workers

    def __enter__(self) -> DecodePool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the workers, whatever they are doing."""
        self._end()
        self._crew.join()

    def warm(self) -> None:
        """Start a worker, without waiting for it, if none has been started yet."""
        if self.workers:
            self._crew.begin()

    def open(
        self, items: Iterable[tuple[T, Any]], *, max_pixels: int | None = None
    ) -> Iterator[tuple[T, Picture | ImageError]]:
        """Like `decode`, of pictures given as for `open_picture`, whose errors name them.

        Files and bytes are decoded by the workers; PIL images and arrays, which the caller opened, right here.
        """
        limits = self._limits_for(max_pixels)

        def contents() -> Iterator[tuple[tuple[T, str | None, bool], bytes | Picture | ImageError]]:
            for token, source in items:
                path = os.fspath(source) if isinstance(source, (str, os.PathLike)) else None
                content = _content(source, path, limits)
                yield (token, path, isinstance(content, bytes)), content

        for (token, path, nameless), result in self.decode(contents(), max_pixels=max_pixels):
            if nameless and isinstance(result, ImageError):
                yield token, type(result)(f"{path or 'picture'}: {result.message}", path=path)
            else:
                yield token, result

    def decode(
        self, items: Iterable[tuple[T, bytes | Picture | ImageError]], *, max_pixels: int | None = None
    ) -> Iterator[tuple[T, Picture | ImageError]]:
        """(token, bytes) in, (token, picture or refusal) out, in the same order, decoded ahead of the reader.

        What is a picture or a refusal already is passed on. `max_pixels` is for these pictures, where it differs from
        that of the pool.
        """
        limits = self._limits_for(max_pixels)
        if not self.workers:
            for token, content in items:
                yield token, (_decode(content, limits) if isinstance(content, bytes) else content)
            return
        items = iter(items)
        begin = list(islice(items, 2))
        if len(begin) == 1 and isinstance(begin[0][1], bytes):
            alone = self._crew.decode_here(begin[0][1], limits)
            if alone is not None:
                yield begin[0][0], alone
                return
        under_way: deque[tuple[T, int, Future[Picture | ImageError]]] = deque()
        ahead_bytes = 0
        try:
            for token, content in chain(begin, items):
                under_way.append((token, _size(content), self._sent(content, limits)))
                ahead_bytes += under_way[-1][1]
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

    def _sent(self, content: bytes | Picture | ImageError, limits: Limits) -> Future[Picture | ImageError]:
        if isinstance(content, bytes):
            return self._crew.submit(content, limits)
        done: Future[Picture | ImageError] = Future()
        done.set_result(content)
        return done

    def _limits_for(self, max_pixels: int | None) -> Limits:
        if max_pixels is None or max_pixels == self.limits.max_pixels:
            return self.limits
        return self._limits(self.limits.size, self.limits.timeout, max_pixels)

    def _limits(self, size: tuple[int, int] | None, timeout: float, max_pixels: int) -> Limits:
        decoding = budget(max_pixels, self.workers)
        memory = BASE_MEMORY + MAX_BYTES + decoding if self._memory is None else self._memory
        return Limits(size, max_pixels, timeout, memory, decoding, self._medium.name, self._fit)


class _Crew:
    """The workers of a pool, and as many threads that hand them pictures and wait for what becomes of them."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.workers: list[_Worker] = []
        self._lock = threading.RLock()  # `stop` may come in the middle of anything, as garbage is collected
        self._start_anew()

    def _start_anew(self) -> None:
        self._process = os.getpid()
        self._tasks: queue.SimpleQueue[Task | None] = queue.SimpleQueue()
        self._free: queue.LifoQueue[_Worker] = queue.LifoQueue()  # the last one used first: its memory is warm
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
                self._hire()
            self._tasks.put((data, limits, future))
        return future

    def decode_here(self, data: bytes, limits: Limits) -> Picture | ImageError | None:
        """By a worker that waits for work, spoken to by this thread: a change of threads takes as long as a small
        picture. None where there is no such worker."""
        with self._lock:
            if self._closing.is_set() or self._process != os.getpid():
                return None
            try:
                worker = self._free.get_nowait()
            except queue.Empty:
                return None
            if not worker.is_running():  # who starts it must live as long as it does
                self._free.put(worker)
                return None
            self._open_tasks += 1
        outcome = _outcome(worker, data, limits)
        self._give_back(worker)
        if isinstance(outcome, BaseException) and not isinstance(outcome, ImageError):  # no picture's fault
            raise outcome
        return outcome

    def begin(self) -> None:
        """Start a first worker now, so that it is ready when a picture comes."""
        with self._lock:
            if not self._closing.is_set() and self._process == os.getpid() and not self.workers:
                self._hire(early=True)

    def stop(self) -> None:
        """End the workers without waiting for the threads, one of which may be here (garbage is found anywhere)."""
        if self._process != os.getpid():
            return
        with self._lock:
            self._closing.set()
            self._busy.set()
            self._tasks.put(None)  # behind every task
        for worker in self.workers:
            worker.kill()

    def join(self) -> None:
        if self._process == os.getpid():
            for thread in self._threads:
                thread.join()

    def _hire(self, *, early: bool = False) -> None:
        worker = _Worker(self._busy)
        self.workers.append(worker)
        if not early:
            self._free.put(worker)
        self._threads.append(threading.Thread(target=self._tend, args=(worker if early else None,), daemon=True))
        self._threads[-1].start()
        if len(self.workers) == 1:
            self._threads.append(threading.Thread(target=self._watch, daemon=True))
            self._threads[-1].start()

    def _tend(self, early: _Worker | None) -> None:
        if early is not None:
            with suppress(Exception):  # the first picture says what is wrong
                early.start()
            self._free.put(early)
        while (task := self._tasks.get()) is not None:
            data, limits, future = task
            worker = self._free.get()
            outcome: Picture | ImageError | BaseException = ImageError(STOPPED)
            if future.set_running_or_notify_cancel() and not self._closing.is_set():
                outcome = _outcome(worker, data, limits)
            self._give_back(worker)  # before the result is seen: who then sends the next picture finds it free
            if future.cancelled():
                continue
            if isinstance(outcome, BaseException) and not isinstance(outcome, ImageError):  # no picture's fault
                future.set_exception(outcome)
            else:
                future.set_result(outcome)
        self._tasks.put(None)  # for the next thread
        for worker in self.workers:
            worker.kill()

    def _give_back(self, worker: _Worker) -> None:
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


def _outcome(worker: _Worker, data: bytes, limits: Limits) -> Picture | ImageError | BaseException:
    """What becomes of a picture; an error that is not of the picture too, since somebody waits for it."""
    try:
        return worker.decode(data, limits)
    except BaseException as error:
        return error


class _Worker:
    """A process that decodes one picture at a time, started on first use and again after a death."""

    def __init__(self, busy: threading.Event) -> None:
        self.process: subprocess.Popen[bytes] | None = None
        self.deadline: float | None = None
        self.late = False
        self._busy = busy  # set when there is a deadline to watch

    def decode(self, data: bytes, limits: Limits) -> Picture | ImageError:
        """The picture or its refusal; a WorkerError where no process can be had, which is no picture's fault."""
        process = self.process
        if process is None or not self.is_running():
            process = self.start()
        self._within(limits.timeout)
        try:
            assert process.stdin is not None
            assert process.stdout is not None
            processes.send(process.stdin, b"D", vars(limits), data)
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
        """Whether there is a deadline; what is past it is killed."""
        deadline = self.deadline
        if deadline is not None and time.monotonic() > deadline:
            self.late = True
            self.kill()
        return deadline is not None

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()


def _content(source: Any, path: str | None, limits: Limits) -> bytes | Picture | ImageError:
    """What there is to decode; of a Python object, the picture."""
    try:
        if path is not None:
            return read_file(path)
        if isinstance(source, (bytes, bytearray, memoryview)):
            return bytes(source)
        return open_picture(source, size=limits.size, fit=limits.fit, max_pixels=limits.max_pixels)
    except ImageError as error:
        return error


def _size(content: bytes | Picture | ImageError) -> int:
    if isinstance(content, bytes):
        return len(content)
    return content.pixels.nbytes if isinstance(content, Picture) else 0


def _decode(data: bytes, limits: Limits) -> Picture | ImageError:
    """In this process."""
    try:
        if limits.medium != PICTURES.name:
            decoded: Picture | ImageError = _decoded(limits, data)
            return decoded
        return open_picture(
            data, size=limits.size, fit=limits.fit, max_pixels=limits.max_pixels, memory=limits.decoding, name=""
        )
    except ImageError as error:
        error.message = error.message.removeprefix(": ")
        return error


def _decoded(limits: Limits, data: bytes) -> Any:
    """What another medium than pictures gives, here."""
    medium = medium_named(limits.medium)
    array, facts = medium.decode(data, limits)
    array = np.asarray(array)
    return _opened(medium, array.dtype.str, array.shape, array.tobytes(), vars(facts))


def _read_answer(stdout: IO[bytes], medium: Medium) -> Picture | ImageError:
    kind, header, content = processes.receive(stdout)
    if kind == b"R":
        return ImageTooLargeError(header["reason"]) if header["too_large"] else medium.error(header["reason"])
    opened: Picture | ImageError = _opened(medium, header["dtype"], header["shape"], content, header["facts"])
    return opened


def _opened(medium: Medium, dtype: str, shape: Sequence[int], content: bytes, facts: Mapping[str, Any]) -> Any:
    """What a decoder gave, or why it is none of its medium."""
    wrong = refusal_of(medium, dtype, shape, len(content))
    if wrong is None:
        array = np.frombuffer(content, dtype).reshape(shape)
        if array.dtype.kind != "f" or np.isfinite(array).all():
            return medium.opened(array, facts)
        wrong = "values that are no numbers"
    return medium.error(f"its decoder gave {wrong}")
