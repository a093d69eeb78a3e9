"""What the server does beside answering: adding folders, and what is computed for the whole library."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any, Literal

Kind = Literal["add", "watch", "map", "scenes", "duplicates"]
JobState = Literal["waiting", "running", "done", "stopped", "failed"]
MOST = 50
LASTING = ("waiting", "running")


class StoppedError(Exception):
    """A job was told to stop."""


@dataclass(eq=False)
class Job:
    """One piece of work, as far as it is."""

    id: int
    kind: Kind
    folder: str | None = None
    state: JobState = "waiting"
    done: int = 0
    total: int | None = None
    added: int = 0
    failed: int = 0
    text: str = ""
    started: str | None = None
    ended: str | None = None
    stopping: threading.Event = field(default_factory=threading.Event)

    @property
    def share(self) -> float:
        return min(1.0, self.done / self.total) if self.total else 0.0

    def check(self) -> None:
        if self.stopping.is_set():
            raise StoppedError

    def reached(self, done: int) -> None:
        """So much is done; ends the job here if it was told to stop."""
        self.done = done
        self.check()

    def document(self) -> dict[str, Any]:
        """The job as JSON. The keys are stable."""
        names = ("id", "kind", "folder", "state", "done", "total", "added", "failed", "text", "started", "ended")
        return {name: getattr(self, name) for name in names}


class Jobs:
    """The last jobs, the newest first. One that is not over is never dropped."""

    def __init__(self, most: int = MOST) -> None:
        self.most = most
        self._lock = threading.Lock()
        self._jobs: OrderedDict[int, Job] = OrderedDict()
        self._last = 0

    def new(self, kind: Kind, folder: str | None = None) -> Job:
        with self._lock:
            self._last += 1
            job = self._jobs[self._last] = Job(self._last, kind, folder)
            over = [each.id for each in self._jobs.values() if each.state not in LASTING]
            for each in over[: max(0, len(self._jobs) - self.most)]:
                del self._jobs[each]
        return job

    def get(self, number: int) -> Job | None:
        with self._lock:
            return self._jobs.get(number)

    def stop(self, number: int) -> Job | None:
        """Tell a job to stop. One that waits is over at once."""
        with self._lock:
            job = self._jobs.get(number)
            if job is not None and job.state in LASTING:
                job.stopping.set()
                if job.state == "waiting":
                    job.state, job.ended = "stopped", _now()
        return job

    def documents(self) -> list[dict[str, Any]]:
        with self._lock:
            return [job.document() for job in reversed(self._jobs.values())]

    def stop_all(self) -> None:
        with self._lock:
            for job in self._jobs.values():
                job.stopping.set()

    @property
    def open(self) -> int:
        with self._lock:
            return sum(job.state in LASTING for job in self._jobs.values())


def carry_out(job: Job, work: Callable[[Job], object]) -> Exception | None:
    """Do the work of a job, and note how it ends. Returns the error if it failed."""
    if job.stopping.is_set():
        job.state, job.ended = "stopped", job.ended or _now()
        return None
    job.state, job.started = "running", _now()
    failure: Exception | None = None
    try:
        work(job)
        job.state = "stopped" if job.stopping.is_set() and job.kind in ("add", "watch") else "done"
    except StoppedError:
        job.state = "stopped"
    except Exception as error:  # whoever waits for the job gets it; a thread that nobody watches must not die of it
        failure, job.state = error, "failed"
        with suppress(Exception):
            job.text = str(error)[:300]
    job.ended = _now()
    return failure


def _now() -> str:
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
