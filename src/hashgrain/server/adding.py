"""Adding from the folders that are allowed, one job at a time, in slices between which others write."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from hashgrain.library import Library
from hashgrain.library.allowed_folders import pictures_in
from hashgrain.library.report import AddReport
from hashgrain.server.jobs import Job, Jobs, Kind, carry_out
from hashgrain.server.problems import ProblemError
from hashgrain.types import OpenSource

T = TypeVar("T")
Write = Callable[[Callable[[Library], None]], None]
MOST_WAITING = 20
SLICE = 256  # pictures that are added together at most
SLICE_SECONDS = 2.0  # after which what is under way is finished, and others may write


class Adding:
    """The thread that adds. `write` runs a call with the library where changes are made, and waits for it."""

    def __init__(self, folders: Mapping[str, Path], jobs: Jobs, write: Write) -> None:
        self.folders, self.jobs, self.write = folders, jobs, write
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="hashgrain-adding")

    def begin(self, kind: Kind, name: str, *, parts: bool = True, changed: frozenset[str] | None = None) -> Job:
        """A job that adds what is new in a folder; with `changed`, only what is among these paths."""
        folder = self.folders.get(name)
        if folder is None:
            raise ProblemError(404, "folder_unknown", f"there is no folder {name!r} to add from")
        if self.jobs.open >= MOST_WAITING:
            raise ProblemError(503, "busy", f"{self.jobs.open} jobs are waiting", retry_after=5)
        job = self.jobs.new(kind, name)
        self._pool.submit(carry_out, job, lambda own: self._add(own, folder, parts, changed))
        return job

    def _add(self, job: Job, folder: Path, parts: bool, changed: frozenset[str] | None) -> None:
        if changed is None:
            job.total = sum(1 for _ in _until_stopped(pictures_in(folder), job))
        feed = _Feed(job, folder, changed)
        while not feed.ended:
            self.write(lambda library: feed.add_some(library, parts))

    def close(self) -> None:
        """Wait for the slice under way."""
        self._pool.shutdown(wait=True, cancel_futures=True)


class _Feed:
    """The pictures of a folder, slice by slice, and what became of them."""

    def __init__(self, job: Job, folder: Path, changed: frozenset[str] | None) -> None:
        self.job = job
        self.ended = False
        self._taken = 0  # in the slices before
        self._found = pictures_in(folder, changed, left_out=self._left_out)

    def add_some(self, library: Library, parts: bool) -> None:
        report = library.add(self._slice(), parts=parts, progress=self._tell)
        self._taken += report.seen
        self.job.added += report.added + report.replaced
        for refused in report.refused:
            self._left_out(refused.reason)

    def _slice(self) -> Iterator[OpenSource]:
        until = time.monotonic() + SLICE_SECONDS
        for _ in range(SLICE):
            if self.job.stopping.is_set():
                self.ended = True
                return
            each = next(self._found, None)
            if each is None:
                self.ended = True
                return
            yield each
            if time.monotonic() > until:
                return

    def _tell(self, report: AddReport) -> None:
        self.job.done = self._taken + report.seen

    def _left_out(self, reason: str) -> None:
        self.job.failed += 1
        self.job.text = reason[:300]


def _until_stopped(entries: Iterator[T], job: Job) -> Iterator[T]:
    for each in entries:
        job.check()
        yield each
