"""What is computed for the whole library: once for each of its states, one thing after the other, beside all else.

An answer stays until the next is ready, so that a library that changes is browsed as it was a moment ago. Its version
says which state it is of.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, cast

from hashgrain.errors import HashgrainError
from hashgrain.library import Library
from hashgrain.server.jobs import Job, Jobs, Kind, carry_out
from hashgrain.server.problems import ProblemError, of_library
from hashgrain.server.shared import SharedLibrary

T = TypeVar("T")


@dataclass(frozen=True)
class Version(Generic[T]):
    """What was computed, and of which state of the library."""

    name: str
    value: T


@dataclass
class _Slot:
    """One thing: its last answer, the work under way, and what went wrong at which state."""

    answer: Version[Any] | None = None
    job: Job | None = None
    failure: tuple[str, Exception] | None = None


class Computed:
    """The answers, by key, and the thread that makes them."""

    def __init__(self, shared: SharedLibrary, jobs: Jobs) -> None:
        self.shared, self.jobs = shared, jobs
        self.threads = max(1, (os.cpu_count() or 1) // 2)  # searches have the others
        self._lock = threading.Lock()
        self._slots: dict[str, _Slot] = {}
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="hashgrain-computing")

    def get(self, library: Library, kind: Kind, key: str, make: Callable[[Library, Job], T]) -> Version[T] | float:
        """The answer, of the library as it is or as it was; the share that is done if there is none yet.

        `make` gets the library, and a job to say how far it is. What it refuses is refused here until the library
        changes.
        """
        now = version_of(library)
        with self._lock:
            slot = self._slots.setdefault(key, _Slot())
            current = slot.answer is not None and slot.answer.name == now
            failed = slot.failure is not None and slot.failure[0] == now
            if not current and not failed and slot.job is None:
                slot.job = self.jobs.new(kind)
                self._pool.submit(self._make, slot, slot.job, make)
            if failed and slot.failure is not None:
                problem = _problem(slot.failure[1])
                if problem.status_code >= 500:  # may be over by now: the next request tries again
                    slot.failure = None
                raise problem
            if slot.answer is not None:
                return cast("Version[T]", slot.answer)
            return 0.0 if slot.job is None else slot.job.share

    def kept(self, key: str) -> Version[Any] | None:
        """The last answer, without making one."""
        with self._lock:
            slot = self._slots.get(key)
            return None if slot is None else slot.answer

    def made(self, library: Library, key: str, make: Callable[[Library, Job], T], job: Job) -> T:
        """For one answer that needs another: that one as it is kept, or made within the same job."""
        name, kept = version_of(library), self.kept(key)
        if kept is not None and kept.name == name:
            return cast("T", kept.value)
        value = make(library, job)
        with self._lock:
            self._slots.setdefault(key, _Slot()).answer = Version(name, value)
        return value

    def _make(self, slot: _Slot, job: Job, make: Callable[[Library, Job], object]) -> None:
        name = ""

        def work(job: Job) -> None:
            nonlocal name
            with self.shared.using() as library:
                name = version_of(library)
                value = make(library, job)
            with self._lock:
                slot.answer, slot.failure = Version(name, value), None

        failure = carry_out(job, work)
        with self._lock:
            slot.job = None
            if failure is not None:
                slot.failure = (name, failure)

    def close(self) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)


def version_of(library: Library) -> str:
    """A name for the state of the codes of a library: another after each change of them, the same after none."""
    with library.store.snapshot() as snapshot:
        history = "".join(filter(str.isalnum, snapshot.history()))
        return f"{history[:8]}-{snapshot.sequence}"


def _problem(error: Exception) -> ProblemError:
    if isinstance(error, ProblemError):
        return error
    if isinstance(error, HashgrainError):
        return of_library(error)
    return ProblemError(500, "internal", f"it could not be computed: {type(error).__name__}")
